/** The package as it is installed: its files, its size, its types, and in bundles. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { buildSync } from "esbuild";

const HERE = fileURLToPath(new URL("..", import.meta.url));
const SERVED = join(HERE, "../../sockets/static/sockets");
const DIST = join(HERE, "dist");
const MOST = 9_000; // bytes of the main entry, compressed
const folder = mkdtempSync(join(tmpdir(), "gateway-client-"));
const run = (command, args, options = {}) =>
  execFileSync(command, args, { cwd: HERE, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], ...options });
const tool = (name, ...args) => run(process.execPath, [join(HERE, "node_modules/.bin", name), ...args]);
const read = (...path) => readFileSync(join(...path), "utf8");

let installed;

before(() => {
  run(process.execPath, ["build.js"]);
  const [{ filename, files }] = JSON.parse(run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder]));
  installed = files.map(({ path }) => path);
  mkdirSync(join(folder, "node_modules/django-gateway-client"), { recursive: true });
  run("tar", ["-xzf", join(folder, filename), "--strip-components=1", "-C", join(folder, "node_modules/django-gateway-client")]);
});
after(() => rmSync(folder, { recursive: true }));

test("what the gateway serves is what is built", () => {
  for (const name of ["gateway.js", "gateway.js.map"])
    assert.ok(read(SERVED, name) === read(DIST, name), `${name} is not what is built: npm run build`);
});

test("the main entry is small", () => {
  const size = gzipSync(read(DIST, "gateway.js"), { level: 9 }).length;
  assert.ok(size <= MOST, `${size} bytes`);
});

test("no code is made of text, so a strict Content-Security-Policy suffices", () => {
  for (const name of readdirSync(DIST).filter((name) => name.endsWith(".js")))
    assert.doesNotMatch(read(DIST, name), /\beval\(|new Function|Function\("|document\.write|innerHTML/);
});

test("the package holds what it exports, and its licence", () => {
  const { exports } = JSON.parse(read(HERE, "package.json"));
  const named = Object.values(exports).flatMap((one) => (typeof one === "string" ? [one] : Object.values(one)));
  for (const file of [...named.map((name) => name.replace("./", "")), "dist/gateway.js.map", "LICENSE", "README.md"])
    assert.ok(installed.includes(file), file);
  assert.deepEqual(installed.filter((file) => /test|node_modules|\.env/.test(file)), []);
});

test("its version is that of the gateway", () => {
  const { version } = JSON.parse(read(HERE, "package.json"));
  assert.ok(read(HERE, "../../sockets/__init__.py").includes(`__version__ = "${version}"`));
});

test("publint has nothing to say", () => {
  assert.match(tool("publint", "--strict"), /All good/);
});

test("nor have Are the types wrong", () => {
  const [archive] = readdirSync(folder).filter((name) => name.endsWith(".tgz"));
  tool("attw", join(folder, archive), "--profile", "esm-only");
});

test("an invented event or member is an error of types", () => {
  tool("tsc", "-p", "test/types");
});

const USE = `
  import { Gateway } from "django-gateway-client";
  import { Queue } from "django-gateway-client/queue";
  globalThis.made = new Queue(new Gateway("ws://gateway.test/", { connect: false })).size;
`;

const bundle = (entry, outfile) =>
  buildSync({ absWorkingDir: folder, entryPoints: [join(folder, entry)], bundle: true, minify: true, format: "esm", outfile });

/** What a bundle does when it is run. */
const made = (file) => run(process.execPath, ["--input-type=module", "-e", `await import(${JSON.stringify(file)}); console.log(made)`]).trim();

test("bundled by esbuild", () => {
  writeFileSync(join(folder, "use.mjs"), USE);
  const out = join(folder, "esbuild.mjs");
  bundle("use.mjs", out);
  assert.equal(made(out), "0");
});

test("esbuild takes only what is used", () => {
  writeFileSync(join(folder, "little.mjs"), `import { ulid } from "django-gateway-client"; console.log(ulid());`);
  const out = join(folder, "little.out.mjs");
  bundle("little.mjs", out);
  assert.ok(readFileSync(out).length < 4_000);
});

test("bundled by vite", async () => {
  const { build } = await import("vite");
  writeFileSync(join(folder, "use.mjs"), USE);
  const lib = { entry: join(folder, "use.mjs"), formats: ["es"], fileName: () => "vite.mjs" };
  await build({ root: folder, configFile: false, logLevel: "error", build: { lib, outDir: join(folder, "vite"), minify: true } });
  assert.equal(made(join(folder, "vite/vite.mjs")), "0");
});
