// In node: runs the scripts of the lesson, and a check of lesson_checks.js. The names of the scripts,
// the check and its argument come from standard input; its value goes to standard output.
"use strict";
const {readFileSync} = require("node:fs");
const vm = require("node:vm");

const [names, check, argument] = JSON.parse(readFileSync(0, "utf8"));
const context = vm.createContext({argument: JSON.stringify(argument)});
for (const name of names) vm.runInContext(readFileSync(name, "utf8"), context, name);
const call = `JSON.stringify(CHECKS.${check}(JSON.parse(argument)))`;
process.stdout.write(vm.runInContext(call, context));
