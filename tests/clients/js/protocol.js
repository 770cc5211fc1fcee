// tests/clients/protocol.py in JavaScript: a word a line in, a line of JSON out.
"use strict";

const readline = require("node:readline");

function tell(what) {
  process.stdout.write(`${JSON.stringify(what)}\n`);
}

async function run(name, make) {
  tell({ client: name });
  let kept;
  for await (const line of readline.createInterface({ input: process.stdin })) {
    try {
      if (line.trim() === "anew" || !kept) {
        kept = make();
      }
      tell(await kept());
    } catch (failure) {
      tell({ error: `${failure.name}: ${failure.message}` });
    }
  }
}

module.exports = { run };
