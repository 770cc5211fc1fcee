// The AWS SDK for JavaScript v3, with the default chain of Node.js.
"use strict";

const { STSClient, GetCallerIdentityCommand } = require("@aws-sdk/client-sts");
const { fromNodeProviderChain } = require("@aws-sdk/credential-providers");
const { version } = require("@aws-sdk/client-sts/package.json");
const { run } = require("./protocol.js");

function make() {
  const client = new STSClient({
    endpoint: process.env.STS_URL,
    credentials: fromNodeProviderChain(),
  });
  return async () => {
    const { Arn } = await client.send(new GetCallerIdentityCommand({}));
    const { accessKeyId } = await client.config.credentials();
    return { key: accessKeyId, arn: Arn };
  };
}

run(`JavaScript v3 ${version}`, make);
