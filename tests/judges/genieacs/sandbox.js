// Runs a provision as GenieACS does, as far as its interface goes: declare, args, log, commit, clear, ext, Date.
// Reads {script, args, device} from standard input; prints what was declared and logged.  Ours, written from
// GenieACS's documentation.
"use strict";
const fs = require("fs");
const vm = require("vm");

const given = JSON.parse(fs.readFileSync(0, "utf8"));
const declared = [];
const logged = [];

function declare(path, timestamps, values) {
  if (typeof path !== "string") throw new Error("declare: expected a path");
  for (const one of [timestamps, values]) {
    for (const name of Object.keys(one || {})) {
      if (!["path", "object", "writable", "value", "notification", "accessList"].includes(name)) {
        throw new Error("declare: unknown attribute " + name);
      }
    }
  }
  if (values) declared.push([path, values]);
  const found = given.device[path];
  return {path: path, size: found === undefined ? 0 : 1, value: found === undefined ? undefined : [found, "xsd:string"]};
}

const context = vm.createContext({
  declare, args: given.args, log: (text) => logged.push(String(text)), commit: () => {}, clear: () => {},
});
new vm.Script('"use strict";(function(){\n' + given.script + "\n})();").runInContext(context, {timeout: 5000});
process.stdout.write(JSON.stringify({declared, logged}));
