// The AWS SDK for JavaScript v2, with its default chain. AWS no longer maintains it.
"use strict";

const AWS = require("aws-sdk");
const { run } = require("./protocol.js");

function make() {
  const credentialProvider = new AWS.CredentialProviderChain();
  const client = new AWS.STS({ endpoint: process.env.STS_URL, credentials: null, credentialProvider });
  return async () => {
    const { Arn } = await client.getCallerIdentity().promise();
    return { key: client.config.credentials.accessKeyId, arn: Arn };
  };
}

run(`JavaScript v2 ${AWS.VERSION}`, make);
