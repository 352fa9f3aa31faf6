// Compiles a Kaitai Struct description to Python: node compile.cjs KSY OUTDIR
// The packages kaitai-struct-compiler and js-yaml are found by NODE_PATH, which names a node_modules folder.
"use strict";
const fs = require("node:fs");
const path = require("node:path");

async function main([ksy, outdir, ...rest]) {
  if (!ksy || !outdir || rest.length) throw new Error("usage: node compile.cjs KSY OUTDIR");
  const compiler = require("kaitai-struct-compiler");
  const yaml = require("js-yaml");
  const description = yaml.load(fs.readFileSync(ksy, "utf8"), { filename: ksy });
  const files = await compiler.compile("python", description, null, false);
  fs.mkdirSync(outdir, { recursive: true });
  for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(outdir, name), text);
}

main(process.argv.slice(2)).catch((error) => {
  console.error(`compile.cjs: ${error.message ?? error}`);
  process.exitCode = 1;
});
