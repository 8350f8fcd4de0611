// Writes data.js, in some minutes: `node record.js` in this folder.
const {readFileSync, writeFileSync} = require("node:fs");
const context = require("node:vm"), shared = context.createContext({});
for (const name of ["rnn", "figures", "delay"]) {
  context.runInContext(readFileSync(`${__dirname}/${name}.js`, "utf8"), shared);
}
const table = (k1) => JSON.stringify(context.runInContext(`range(1, 5).map((d) => range(1, 8).map(
  (k) => range(1, 32).filter((seed) => hasLearned(learnDelay({d, k1: ${k1}, k2: k, seed}).losses))
    .length))`, shared)).replaceAll("],[", "],\n    [");
writeFileSync(`${__dirname}/data.js`, `// By record.js: how many learn, d = 1 to 5, k = 1 to 8.
const RECORDED = {
  networks: 32,
  sliding: ${table(1)},
  chunks: ${table("k")},
};
`);
