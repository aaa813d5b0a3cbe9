"""The `solana` and `solders` packages against a running cluster, as a script or a bot would use them."""

import asyncio
import json
import os
import sys
import unittest
from pathlib import Path

from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Confirmed, Finalized
from solana.rpc.core import RPCException
from solana.rpc.models import TxOpts
from solana.rpc.websocket_api import SolanaWsClient
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import Message, MessageV0
from solders.rpc.errors import RpcCustomErrorFieldless, SendTransactionPreflightFailureMessage
from solders.signature import Signature
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction
from solders.transaction_status import (
    InstructionErrorCustom,
    TransactionConfirmationStatus,
    TransactionErrorFieldless,
    TransactionErrorInstructionError,
)

SOL = 1_000_000_000
FEE = 5_000
# How long a cluster with 400 ms slots may take to finalize (about 15 s), on a busy machine.
FINALIZED_S = 120
# How long a blockhash stays valid (150 blocks, about 60 s), and then some.
EXPIRED_S = 180


def cluster():
    """The nodes of `cluster.json`, named by SUNDOG_CLUSTER."""
    path = os.environ.get("SUNDOG_CLUSTER")
    if not path:
        sys.exit("name the cluster: SUNDOG_CLUSTER=localnet/cluster.json")
    return json.loads(Path(path).read_text())


CLUSTER = cluster()
NODES = CLUSTER["nodes"]


async def until(what, seconds, probe):
    """Asks `probe` until it answers true; fails after `seconds`, with what was answered last."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not (answer := await probe()):
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s, but {answer!r}")
        await asyncio.sleep(0.1)


def signed_transfer(payer, to, lamports, blockhash, version=0):
    """A signed transfer, legacy if `version` is None."""
    instruction = transfer(TransferParams(from_pubkey=payer.pubkey(), to_pubkey=to, lamports=lamports))
    if version is None:
        message = Message.new_with_blockhash([instruction], payer.pubkey(), blockhash)
    else:
        message = MessageV0.try_compile(payer.pubkey(), [instruction], [], blockhash)
    return VersionedTransaction(message, [payer])


class Suite(unittest.IsolatedAsyncioTestCase):
    """Each test has its own connections and its own funded payer."""

    async def asyncSetUp(self):
        self.clients = [AsyncClient(node["rpc"], commitment=Confirmed, timeout=30) for node in NODES]
        for client in self.clients:
            self.addAsyncCleanup(client.close)
        self.first = self.clients[0]
        await until("health", FINALIZED_S, self.healthy)
        self.payer = Keypair()
        self.latest = (await self.first.get_latest_blockhash(Confirmed)).value
        signature = (await self.first.request_airdrop(self.payer.pubkey(), 10 * SOL, Confirmed)).value
        await self.confirm(self.first, signature, Confirmed)

    async def healthy(self):
        try:
            return all([await client.is_connected() for client in self.clients])
        except RPCException:
            return False

    async def confirm(self, client, signature, commitment):
        height = self.latest.last_valid_block_height
        async with asyncio.timeout(FINALIZED_S):
            status = await client.confirm_transaction(signature, commitment, 0.1, height)
        self.assertIsNone(status.value[0].err)
        return status.value[0]

    async def balance(self, client, address, commitment):
        return (await client.get_balance(address, commitment)).value

    async def everywhere(self, address, wanted, commitment):
        for index, client in enumerate(self.clients):
            async def equal(client=client):
                return await self.balance(client, address, commitment) == wanted
            await until(f"{wanted} lamports {commitment} on node {index}", FINALIZED_S, equal)

    async def send(self, client, transaction):
        return (await client.send_transaction(transaction, TxOpts(preflight_commitment=Confirmed))).value

    async def refusal(self, client, transaction):
        with self.assertRaises(RPCException) as caught:
            await self.send(client, transaction)
        return caught.exception.args[0]

    async def preflight_error(self, transaction):
        refusal = await self.refusal(self.first, transaction)
        self.assertIsInstance(refusal, SendTransactionPreflightFailureMessage)
        return refusal.data

    async def test_every_node_is_healthy_and_of_one_cluster(self):
        for node, client in zip(NODES, self.clients, strict=True):
            self.assertEqual(str((await client.get_genesis_hash()).value), CLUSTER["genesis_hash"])
            self.assertEqual(str((await client.get_identity()).value.identity), node["identity"])
            self.assertTrue((await client.get_version()).value.solana_core)
            known = [str(contact.pubkey) for contact in (await client.get_cluster_nodes()).value]
            self.assertIn(node["identity"], known)

    async def test_an_airdrop_is_confirmed(self):
        self.assertEqual(await self.balance(self.first, self.payer.pubkey(), Confirmed), 10 * SOL)
        await self.everywhere(self.payer.pubkey(), 10 * SOL, Confirmed)

    async def test_transfers_through_each_node_are_confirmed_then_finalized_and_equal_everywhere(self):
        await self.everywhere(self.payer.pubkey(), 10 * SOL, Confirmed)
        to = Keypair().pubkey()
        sent = []
        for index, client in enumerate(self.clients):
            transaction = signed_transfer(self.payer, to, SOL + index, self.latest.blockhash, None if index else 0)
            sent.append((client, await self.send(client, transaction)))
            self.assertEqual(sent[-1][1], transaction.signatures[0])
        for client, signature in sent:
            await self.confirm(client, signature, Confirmed)
        for client, signature in sent:
            status = await self.confirm(client, signature, Finalized)
            self.assertEqual(status.confirmation_status, TransactionConfirmationStatus.Finalized)
            self.assertIsNone(status.confirmations)
        moved = sum(SOL + index for index in range(len(sent)))
        await self.everywhere(to, moved, Finalized)
        await self.everywhere(self.payer.pubkey(), 10 * SOL - moved - len(sent) * FEE, Finalized)

    async def test_a_transaction_and_its_block_are_read_back(self):
        to = Keypair().pubkey()
        signature = await self.send(self.first, signed_transfer(self.payer, to, SOL, self.latest.blockhash))
        await self.confirm(self.first, signature, Confirmed)
        read = await self.first.get_transaction(signature, commitment=Confirmed, max_supported_transaction_version=0)
        meta = read.value.transaction.meta
        self.assertIsNone(meta.err)
        self.assertEqual(meta.fee, FEE)
        self.assertEqual(meta.post_balances[0], 9 * SOL - FEE)

    async def test_signatures_and_slots_are_heard_of_over_every_websocket(self):
        for index, node in enumerate(NODES):
            async with asyncio.timeout(FINALIZED_S), SolanaWsClient(node["websocket"]) as socket:
                await socket.slot_subscribe()
                self.assertGreater((await socket.recv()).result.slot, 0)
            transaction = signed_transfer(self.payer, Keypair().pubkey(), SOL + index, self.latest.blockhash)
            async with asyncio.timeout(FINALIZED_S), SolanaWsClient(node["websocket"]) as socket:
                await socket.signature_subscribe(signature=transaction.signatures[0], commitment=Confirmed)
                await self.send(self.first, transaction)
                self.assertIsNone((await socket.recv()).result.value.err)

    async def test_a_bad_signature_is_refused(self):
        good = signed_transfer(self.payer, self.payer.pubkey(), 1, self.latest.blockhash)
        forged = VersionedTransaction.populate(good.message, [Signature(bytes([1]) * 64)])
        for client in self.clients:
            refusal = await self.refusal(client, forged)
            self.assertEqual(refusal, RpcCustomErrorFieldless.TransactionSignatureVerificationFailure)

    async def test_too_little_money_is_refused(self):
        poor = signed_transfer(self.payer, Keypair().pubkey(), 1_000 * SOL, self.latest.blockhash)
        failed = await self.preflight_error(poor)
        self.assertIsInstance(failed.err, TransactionErrorInstructionError)
        self.assertEqual(failed.err.index, 0)
        self.assertEqual(failed.err.err, InstructionErrorCustom(1))
        self.assertTrue(any("insufficient lamports" in line for line in failed.logs), failed.logs)

    async def test_a_payer_that_does_not_exist_is_refused(self):
        nobody = signed_transfer(Keypair(), self.payer.pubkey(), 1, self.latest.blockhash)
        self.assertEqual((await self.preflight_error(nobody)).err, TransactionErrorFieldless.AccountNotFound)

    async def test_an_unknown_blockhash_is_refused(self):
        strange = signed_transfer(self.payer, self.payer.pubkey(), 1, Hash.new_unique())
        self.assertEqual((await self.preflight_error(strange)).err, TransactionErrorFieldless.BlockhashNotFound)

    async def test_a_stale_blockhash_is_refused(self):
        async def expired():
            return (await self.first.get_block_height(Confirmed)).value > self.latest.last_valid_block_height
        await until("the blockhash to expire", EXPIRED_S, expired)
        stale = signed_transfer(self.payer, self.payer.pubkey(), 1, self.latest.blockhash)
        self.assertEqual((await self.preflight_error(stale)).err, TransactionErrorFieldless.BlockhashNotFound)


if __name__ == "__main__":
    run = unittest.main(argv=sys.argv[:1], verbosity=2, exit=False).result
    failed = len(run.failures) + len(run.errors)
    print(f"{run.testsRun - failed} passed, {failed} failed")
    sys.exit(0 if run.testsRun and not failed else 1)
