// @solana/kit against a running cluster, as an application would use it.

import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { getTransferSolInstruction } from '@solana-program/system';
import {
  SOLANA_ERROR__INSTRUCTION_ERROR__CUSTOM,
  SOLANA_ERROR__JSON_RPC__SERVER_ERROR_SEND_TRANSACTION_PREFLIGHT_FAILURE,
  SOLANA_ERROR__JSON_RPC__SERVER_ERROR_TRANSACTION_SIGNATURE_VERIFICATION_FAILURE,
  SOLANA_ERROR__TRANSACTION_ERROR__ACCOUNT_NOT_FOUND,
  SOLANA_ERROR__TRANSACTION_ERROR__BLOCKHASH_NOT_FOUND,
  airdropFactory,
  appendTransactionMessageInstruction,
  assertIsTransactionWithBlockhashLifetime,
  createSolanaRpc,
  createSolanaRpcSubscriptions,
  createTransactionMessage,
  generateKeyPairSigner,
  getBase64EncodedWireTransaction,
  getSignatureFromTransaction,
  isSolanaError,
  lamports,
  pipe,
  sendAndConfirmTransactionFactory,
  setTransactionMessageFeePayerSigner,
  setTransactionMessageLifetimeUsingBlockhash,
  signTransactionMessageWithSigners,
  signatureBytes,
} from '@solana/kit';
import { EXPIRED_MS, FINALIZED_MS, cluster, until, within } from '../cluster.mjs';

const SOL = 1_000_000_000n;
const FEE = 5_000n;
const { nodes, genesisHash } = cluster();
const clients = nodes.map((node) => {
  const rpc = createSolanaRpc(node.rpc);
  const rpcSubscriptions = createSolanaRpcSubscriptions(node.websocket);
  return { rpc, rpcSubscriptions, sendAndConfirm: sendAndConfirmTransactionFactory({ rpc, rpcSubscriptions }) };
});
const [first] = clients;
const confirmed = { commitment: 'confirmed' };
const finalized = { commitment: 'finalized' };

let payer;
/** The blockhash that the last test finds expired. */
let early;
/** What the payer must own, to the lamport. */
let expected = 0n;

const latestBlockhash = async ({ rpc }) => (await rpc.getLatestBlockhash(confirmed).send()).value;
const balance = async ({ rpc }, address, config) => (await rpc.getBalance(address, config).send()).value;

/** A signed version 0 transfer. */
async function transfer(from, to, amount, blockhash) {
  const message = pipe(
    createTransactionMessage({ version: 0 }),
    (message) => setTransactionMessageFeePayerSigner(from, message),
    (message) => setTransactionMessageLifetimeUsingBlockhash(blockhash, message),
    (message) =>
      appendTransactionMessageInstruction(getTransferSolInstruction({ source: from, destination: to, amount }), message),
  );
  const transaction = await signTransactionMessageWithSigners(message);
  assertIsTransactionWithBlockhashLifetime(transaction);
  return transaction;
}

/** Sends without confirming, and gives back the refusal. */
async function refusal({ rpc }, transaction) {
  const wire = getBase64EncodedWireTransaction(transaction);
  try {
    await rpc.sendTransaction(wire, { encoding: 'base64', preflightCommitment: 'confirmed' }).send();
  } catch (error) {
    return error;
  }
  return assert.fail('the node took it');
}

/** The refusal is a failed preflight for the reason `code`. */
function refusedFor(error, code, context) {
  assert.ok(isSolanaError(error, SOLANA_ERROR__JSON_RPC__SERVER_ERROR_SEND_TRANSACTION_PREFLIGHT_FAILURE), `${error}`);
  assert.ok(isSolanaError(error.cause, code), `${error.cause}`);
  for (const [key, value] of Object.entries(context ?? {})) assert.equal(error.cause.context[key], value);
}

before(async () => {
  payer = await generateKeyPairSigner();
  early = await until('a blockhash', FINALIZED_MS, () => latestBlockhash(first));
});

describe('kit', () => {
  test('every node is healthy and of one cluster', async () => {
    for (const [index, { rpc }] of clients.entries()) {
      await until(`health of node ${index}`, FINALIZED_MS, () => rpc.getHealth().send());
      assert.equal(await rpc.getGenesisHash().send(), genesisHash);
      const { identity } = await rpc.getIdentity().send();
      assert.equal(identity, nodes[index].identity);
    }
  });

  test('an airdrop is confirmed', async () => {
    const airdrop = airdropFactory(first);
    const request = { commitment: 'confirmed', lamports: lamports(10n * SOL), recipientAddress: payer.address };
    await within('airdrop', FINALIZED_MS, airdrop(request));
    expected = 10n * SOL;
    assert.equal(await balance(first, payer.address, confirmed), expected);
  });

  test('a transfer through each node is confirmed and then finalized', async () => {
    const settled = [];
    for (const [index, client] of clients.entries()) {
      await until(`the payer on node ${index}`, FINALIZED_MS, async () =>
        (await balance(client, payer.address, confirmed)) === expected ? true : undefined,
      );
      const to = (await generateKeyPairSigner()).address;
      const transaction = await transfer(payer, to, SOL, await latestBlockhash(client));
      await within(`transfer through node ${index}`, FINALIZED_MS, client.sendAndConfirm(transaction, confirmed));
      expected -= SOL + FEE;
      assert.equal(await balance(client, to, confirmed), SOL);

      const signature = getSignatureFromTransaction(transaction);
      const isFinalized = async () => {
        const [status] = (await client.rpc.getSignatureStatuses([signature]).send()).value;
        assert.equal(status?.err, null);
        return status.confirmationStatus === 'finalized' ? status : undefined;
      };
      settled.push(
        until(`${signature} finalized`, FINALIZED_MS, isFinalized).then(async (status) => {
          assert.equal(status.confirmations, null);
          assert.equal(await balance(client, to, finalized), SOL);
        }),
      );
    }
    await Promise.all(settled);
  });

  test('a transfer is waited for until it is finalized', async () => {
    const to = (await generateKeyPairSigner()).address;
    const transaction = await transfer(payer, to, SOL, await latestBlockhash(first));
    await within('transfer', FINALIZED_MS, first.sendAndConfirm(transaction, finalized));
    expected -= SOL + FEE;
    assert.equal(await balance(first, to, finalized), SOL);
  });

  test('finalized balances are equal on all nodes', async () => {
    for (const [index, client] of clients.entries()) {
      await until(`balance on node ${index}`, FINALIZED_MS, async () => {
        const found = await balance(client, payer.address, finalized);
        if (found === expected) return true;
        throw new Error(`${found}, not ${expected}`);
      });
    }
  });

  test('slots are heard of over every WebSocket', async () => {
    for (const [index, { rpcSubscriptions }] of clients.entries()) {
      const abort = new AbortController();
      const slots = await rpcSubscriptions.slotNotifications().subscribe({ abortSignal: abort.signal });
      const { value } = await within(`a slot of node ${index}`, FINALIZED_MS, slots[Symbol.asyncIterator]().next());
      assert.ok(value.slot > value.root);
      abort.abort();
    }
  });

  test('a bad signature is refused', async () => {
    const transaction = await transfer(payer, payer.address, 1n, await latestBlockhash(first));
    const forged = { ...transaction, signatures: { [payer.address]: signatureBytes(new Uint8Array(64).fill(1)) } };
    for (const client of clients) {
      const error = await refusal(client, forged);
      const code = SOLANA_ERROR__JSON_RPC__SERVER_ERROR_TRANSACTION_SIGNATURE_VERIFICATION_FAILURE;
      assert.ok(isSolanaError(error, code), `${error}`);
    }
  });

  test('too little money is refused', async () => {
    const transaction = await transfer(payer, payer.address, 1_000n * SOL, await latestBlockhash(first));
    refusedFor(await refusal(first, transaction), SOLANA_ERROR__INSTRUCTION_ERROR__CUSTOM, { code: 1, index: 0 });
  });

  test('a payer that does not exist is refused', async () => {
    const transaction = await transfer(await generateKeyPairSigner(), payer.address, 1n, await latestBlockhash(first));
    refusedFor(await refusal(first, transaction), SOLANA_ERROR__TRANSACTION_ERROR__ACCOUNT_NOT_FOUND);
  });

  test('a stale blockhash is refused', async () => {
    await until('the early blockhash to expire', EXPIRED_MS, async () =>
      (await first.rpc.getBlockHeight(confirmed).send()) > early.lastValidBlockHeight ? true : undefined,
    );
    const transaction = await transfer(payer, payer.address, 1n, early);
    refusedFor(await refusal(first, transaction), SOLANA_ERROR__TRANSACTION_ERROR__BLOCKHASH_NOT_FOUND);
  });
});
