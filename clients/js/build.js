/** Builds `dist/`; with `--serve` the file that the gateway serves, too: `npm run build`. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const SERVED = fileURLToPath(new URL("../../sockets/static/sockets/", import.meta.url));
const out = `${HERE}dist`;

/** Of the sources, so that whoever has no Node sees whether this was built of them. */
const digest = readdirSync(`${HERE}src`)
  .sort()
  .reduce((hash, name) => hash.update(readFileSync(`${HERE}src/${name}`)), createHash("sha256"))
  .digest("hex")
  .slice(0, 16);

const options = {
  absWorkingDir: HERE,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  sourcemap: true,
  outdir: out,
  logLevel: "warning",
  banner: { js: `/* The client of gateway.v1, built from clients/js (${digest}): change it there. */` },
};

rmSync(out, { recursive: true, force: true });
await build({ ...options, entryPoints: ["src/gateway.js"] });
// They import the main entry as it is: whoever takes two of them has one class of errors.
await build({ ...options, entryPoints: ["src/queue.js", "src/react.js"], external: ["./gateway.js", "react"] });
execFileSync(process.execPath, [`${HERE}node_modules/typescript/bin/tsc`, "-p", HERE, "--outDir", out], { stdio: "inherit" });
if (process.argv.includes("--serve"))
  for (const file of ["gateway.js", "gateway.js.map"]) copyFileSync(`${out}/${file}`, SERVED + file);
