// Records how many networks learn the task of the lesson, by d and k2: run `node record.js` in this
// folder. It writes data.js, in some minutes.
"use strict";

const {readFileSync, writeFileSync} = require("node:fs");
const vm = require("node:vm");

const context = vm.createContext({});
for (const name of ["rnn", "figures", "delay"]) {
  vm.runInContext(readFileSync(`${__dirname}/${name}.js`, "utf8"), context);
}
const grid = (k1) => vm.runInContext(`range(1, 5).map((d) => range(1, 8).map((k) => range(1, 32)
  .filter((seed) => hasLearned(learnDelay({d, k1: ${k1}, k2: k, seed}).losses)).length))`, context);
writeFileSync(`${__dirname}/data.js`, `// Written by record.js: of ${32} networks that learn the task of the lesson by
// TBPTT(1, k) and by TBPTT(k, k), how many have learned; rows: d = 1 to 5, columns: k = 1 to 8.
const RECORDED = ${JSON.stringify({networks: 32, sliding: grid("1"), chunks: grid("k")})};
`);
