// Written by record.js: how many networks learn the task of
// the lesson by TBPTT(1, k) and by TBPTT(k, k). Rows: d = 1 to 5, columns: k = 1 to 8.
const RECORDED = {
  networks: 32,
  sliding: [[22,32,32,32,32,32,32,32],
    [6,2,32,32,32,32,32,32],
    [0,5,1,32,32,32,32,32],
    [0,0,0,0,32,32,32,31],
    [0,0,0,0,0,32,32,32]],
  chunks: [[22,32,32,32,32,32,32,32],
    [6,15,32,32,32,32,32,32],
    [0,3,3,32,32,32,32,32],
    [0,0,1,1,32,32,32,32],
    [0,0,0,0,0,32,32,32]],
};
