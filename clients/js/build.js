/** Builds `dist/`, and the file that the gateway serves: `npm run build`. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const SERVED = fileURLToPath(new URL("../../sockets/static/sockets/", import.meta.url));
const out = process.argv[2] ?? `${HERE}dist`;

/** Of the sources, so that whoever has no Node sees whether this was built of them. */
const digest = readdirSync(`${HERE}src`)
  .sort()
  .reduce((hash, name) => hash.update(readFileSync(`${HERE}src/${name}`)), createHash("sha256"))
  .digest("hex")
  .slice(0, 16);

/** The maps name their sources as seen from `dist/`, wherever they are written. */
const options = {
  absWorkingDir: HERE,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  sourcemap: true,
  outdir: "dist",
  write: false,
  logLevel: "warning",
  banner: { js: `/* The client of gateway.v1, built from clients/js (${digest}): change it there. */` },
};

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const main = await build({ ...options, entryPoints: ["src/gateway.js"] });
// They import the main entry as it is: whoever takes two of them has one class of errors.
const others = await build({ ...options, entryPoints: ["src/queue.js", "src/react.js"], external: ["./gateway.js", "react"] });
for (const { path, contents } of [...main.outputFiles, ...others.outputFiles]) writeFileSync(join(out, basename(path)), contents);
execFileSync(process.execPath, [`${HERE}node_modules/typescript/bin/tsc`, "-p", HERE, "--outDir", out], { stdio: "inherit" });
if (!process.argv[2]) for (const file of ["gateway.js", "gateway.js.map"]) copyFileSync(`${out}/${file}`, SERVED + file);
