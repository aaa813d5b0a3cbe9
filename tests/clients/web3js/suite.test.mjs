// @solana/web3.js and @solana/spl-token against a running cluster, as a wallet would use them.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  Connection,
  Keypair,
  LAMPORTS_PER_SOL,
  SendTransactionError,
  SystemProgram,
  Transaction,
  TransactionMessage,
  VersionedTransaction,
  sendAndConfirmTransaction,
} from '@solana/web3.js';
import * as token from '@solana/spl-token';
import { EXPIRED_MS, FINALIZED_MS, cluster, until, within } from '../cluster.mjs';

const FEE = 5_000;
const { nodes, genesisHash } = cluster();
const connections = nodes.map(
  (node) => new Connection(node.rpc, { commitment: 'confirmed', wsEndpoint: node.websocket }),
);
const [first] = connections;
const payer = Keypair.generate();

/** The blockhash that the last test finds expired. */
let early;
/** What the payer must own, to the lamport. */
let expected = 0;

const transfer = (from, to, lamports) =>
  new Transaction().add(SystemProgram.transfer({ fromPubkey: from.publicKey, toPubkey: to, lamports }));

/** Confirms `signature` at `commitment` over the WebSocket of `connection`. */
async function confirm(connection, signature, latest, commitment) {
  const confirmed = connection.confirmTransaction({ signature, ...latest }, commitment);
  const { value } = await within(`${signature} ${commitment}`, FINALIZED_MS, confirmed);
  assert.equal(value.err, null);
}

/** Waits until `ask` answers `wanted`. */
async function becomes(what, wanted, ask) {
  await until(what, FINALIZED_MS, async () => {
    const found = await ask();
    if (found === wanted) return true;
    throw new Error(`${found}, not ${wanted}`);
  });
}

/** Waits until every node answers `wanted` for `ask`. */
async function everywhere(what, wanted, ask) {
  for (const [index, connection] of connections.entries()) {
    await becomes(`${what} on node ${index}`, wanted, () => ask(connection));
  }
}

/** Waits until a node knows what the payer owns by now. */
async function owns(index, connection, commitment) {
  await becomes(`what the payer owns on node ${index}`, expected, () => connection.getBalance(payer.publicKey, commitment));
}

/** The refusal that `connection` answers to `transaction`. */
async function refusal(connection, wire) {
  try {
    await connection.sendRawTransaction(wire, { preflightCommitment: 'confirmed' });
  } catch (error) {
    assert.ok(error instanceof SendTransactionError, `${error}`);
    return error;
  }
  return assert.fail('the node took it');
}

before(async () => {
  // The library builds transactions on finalized blockhashes, and those of genesis and block 0 cost no fee.
  await until('a finalized block', FINALIZED_MS, async () => ((await first.getSlot('finalized')) > 0 ? true : undefined));
  early = await until('a blockhash', FINALIZED_MS, () => first.getLatestBlockhash('confirmed'));
});

after(() => {
  // The library has no way to close a connection for good but this.
  for (const connection of connections) connection._rpcWebSocket?.close();
});

describe('web3.js', () => {
  test('every node is healthy and of one cluster', async () => {
    for (const [index, connection] of connections.entries()) {
      const health = async () => ((await (await fetch(`${nodes[index].rpc}/health`)).text()) === 'ok' ? true : undefined);
      await until(`health of node ${index}`, FINALIZED_MS, health);
      assert.equal(await connection.getGenesisHash(), genesisHash);
      assert.ok((await connection.getVersion())['solana-core']);
    }
    const known = (await first.getClusterNodes()).map((node) => node.pubkey);
    for (const node of nodes) assert.ok(known.includes(node.identity), `${node.name} is not in getClusterNodes`);
  });

  test('an airdrop is confirmed', async () => {
    const latest = await first.getLatestBlockhash();
    const signature = await first.requestAirdrop(payer.publicKey, 10 * LAMPORTS_PER_SOL);
    await confirm(first, signature, latest, 'confirmed');
    expected = 10 * LAMPORTS_PER_SOL;
    assert.equal(await first.getBalance(payer.publicKey, 'confirmed'), expected);
  });

  test('a transfer through each node is confirmed and then finalized', async () => {
    const finalized = [];
    for (const [index, connection] of connections.entries()) {
      await owns(index, connection, 'confirmed');
      const to = Keypair.generate().publicKey;
      const transaction = transfer(payer, to, LAMPORTS_PER_SOL);
      const sent = sendAndConfirmTransaction(connection, transaction, [payer], { commitment: 'confirmed' });
      const signature = await within(`transfer through node ${index}`, FINALIZED_MS, sent);
      expected -= LAMPORTS_PER_SOL + FEE;
      assert.equal(await connection.getBalance(to, 'confirmed'), LAMPORTS_PER_SOL);

      const { recentBlockhash: blockhash, lastValidBlockHeight } = transaction;
      const settle = async () => {
        await confirm(connection, signature, { blockhash, lastValidBlockHeight }, 'finalized');
        assert.equal(await connection.getBalance(to, 'finalized'), LAMPORTS_PER_SOL);
        const { value } = await connection.getSignatureStatus(signature);
        assert.equal(value.confirmationStatus, 'finalized');
        assert.equal(value.confirmations, null);
      };
      finalized.push(settle());
    }
    await Promise.all(finalized);
  });

  test('finalized balances are equal on all nodes', async () => {
    await everywhere('balance', expected, (connection) => connection.getBalance(payer.publicKey, 'finalized'));
  });

  test('a version 0 transaction is confirmed and read back', async () => {
    const { blockhash, lastValidBlockHeight } = await first.getLatestBlockhash();
    const to = Keypair.generate().publicKey;
    const instructions = transfer(payer, to, LAMPORTS_PER_SOL).instructions;
    const message = new TransactionMessage({ payerKey: payer.publicKey, recentBlockhash: blockhash, instructions });
    const transaction = new VersionedTransaction(message.compileToV0Message());
    transaction.sign([payer]);
    const signature = await first.sendTransaction(transaction);
    await confirm(first, signature, { blockhash, lastValidBlockHeight }, 'confirmed');
    expected -= LAMPORTS_PER_SOL + FEE;

    const options = { commitment: 'confirmed', maxSupportedTransactionVersion: 0 };
    const read = await until('getTransaction', FINALIZED_MS, async () => (await first.getTransaction(signature, options)) ?? undefined);
    assert.equal(read.version, 0);
    assert.equal(read.meta.err, null);
    assert.equal(read.meta.fee, FEE);
    assert.equal(read.meta.postBalances[0], expected);
  });

  test('slots, roots and accounts are heard of over every WebSocket', async () => {
    for (const [index, connection] of connections.entries()) {
      const heard = (what, subscribe) =>
        within(`${what} of node ${index}`, FINALIZED_MS, new Promise((resolve) => subscribe(resolve)));
      const slot = await heard('a slot', (resolve) => connection.onSlotChange(resolve));
      assert.ok(slot.slot > slot.root);
      assert.ok(Number.isInteger(await heard('a root', (resolve) => connection.onRootChange(resolve))));

      const to = Keypair.generate().publicKey;
      const account = heard('an account', (resolve) => connection.onAccountChange(to, resolve, { commitment: 'confirmed' }));
      const sent = sendAndConfirmTransaction(first, transfer(payer, to, LAMPORTS_PER_SOL / 10), [payer]);
      await within('transfer', FINALIZED_MS, sent);
      expected -= LAMPORTS_PER_SOL / 10 + FEE;
      assert.equal((await account).lamports, LAMPORTS_PER_SOL / 10);
    }
  });

  test('a bad signature is refused', async () => {
    const transaction = transfer(payer, Keypair.generate().publicKey, 1);
    transaction.feePayer = payer.publicKey;
    transaction.recentBlockhash = (await first.getLatestBlockhash()).blockhash;
    transaction.addSignature(payer.publicKey, Buffer.alloc(64, 1));
    const wire = transaction.serialize({ verifySignatures: false });
    for (const connection of connections) {
      assert.match((await refusal(connection, wire)).message, /signature verification failure/i);
    }
  });

  test('too little money is refused, with the log that says so', async () => {
    const transaction = transfer(payer, Keypair.generate().publicKey, 1_000 * LAMPORTS_PER_SOL);
    transaction.feePayer = payer.publicKey;
    transaction.recentBlockhash = (await first.getLatestBlockhash()).blockhash;
    transaction.sign(payer);
    const error = await refusal(first, transaction.serialize());
    assert.match(error.message, /custom program error: 0x1/);
    assert.ok(error.logs.some((line) => /insufficient lamports/.test(line)), `${error.logs}`);
  });

  test('a payer that does not exist is refused', async () => {
    const nobody = Keypair.generate();
    const transaction = transfer(nobody, payer.publicKey, 1);
    transaction.feePayer = nobody.publicKey;
    transaction.recentBlockhash = (await first.getLatestBlockhash()).blockhash;
    transaction.sign(nobody);
    const error = await refusal(first, transaction.serialize());
    assert.match(error.message, /Attempt to debit an account but found no record of a prior credit/);
  });
});

describe('spl-token', () => {
  const owners = [Keypair.generate(), Keypair.generate()];
  const options = { commitment: 'confirmed' };
  const accounts = [];
  let mint;

  test('a mint and two token accounts are made', async () => {
    mint = await within('mint', FINALIZED_MS, token.createMint(first, payer, payer.publicKey, null, 6, undefined, options));
    for (const owner of owners) {
      const made = token.createAssociatedTokenAccount(first, payer, mint, owner.publicKey, options);
      accounts.push(await within('token account', FINALIZED_MS, made));
    }
    assert.equal((await token.getMint(first, mint, 'confirmed')).decimals, 6);
  });

  test('tokens are minted and transferred', async () => {
    const minted = token.mintTo(first, payer, mint, accounts[0], payer, 1_000_000n, [], options);
    await within('mint to', FINALIZED_MS, minted);
    const moved = token.transfer(first, payer, accounts[0], accounts[1], owners[0], 250_000n, [], options);
    await within('token transfer', FINALIZED_MS, moved);
  });

  test('finalized token balances are equal on all nodes', async () => {
    for (const [account, amount] of [[accounts[0], 750_000n], [accounts[1], 250_000n]]) {
      await everywhere('tokens', amount, async (connection) => (await token.getAccount(connection, account, 'finalized')).amount);
    }
    await everywhere('supply', 1_000_000n, async (connection) => (await token.getMint(connection, mint, 'finalized')).supply);
  });
});

describe('expiry', () => {
  test('a stale blockhash is refused', async () => {
    await until('the early blockhash to expire', EXPIRED_MS, async () =>
      (await first.getBlockHeight('confirmed')) > early.lastValidBlockHeight ? true : undefined,
    );
    assert.equal((await first.isBlockhashValid(early.blockhash, { commitment: 'confirmed' })).value, false);
    const transaction = transfer(payer, Keypair.generate().publicKey, 1);
    transaction.feePayer = payer.publicKey;
    transaction.recentBlockhash = early.blockhash;
    transaction.sign(payer);
    assert.match((await refusal(first, transaction.serialize())).message, /Blockhash not found/);
  });
});
