// What every JavaScript suite needs: where the cluster is, and how to wait for something without sleeping blindly.

import { readFileSync } from 'node:fs';

/** How long a cluster with 400 ms slots may take to finalize (about 15 s), on a busy machine. */
export const FINALIZED_MS = 120_000;
/** How long a blockhash stays valid (150 blocks, about 60 s), and then some. */
export const EXPIRED_MS = 180_000;

/** The cluster of `cluster.json`, named by SUNDOG_CLUSTER or the first argument. */
export function cluster() {
  const path = process.env.SUNDOG_CLUSTER ?? process.argv[2];
  if (!path) {
    throw new Error('name the cluster: SUNDOG_CLUSTER=localnet/cluster.json');
  }
  const { nodes, genesis_hash: genesisHash } = JSON.parse(readFileSync(path, 'utf8'));
  return { nodes, genesisHash };
}

/** Asks `probe` until it answers something else than undefined; fails after `ms`, with what was asked last. */
export async function until(what, ms, probe) {
  const deadline = Date.now() + ms;
  for (;;) {
    let last;
    try {
      const answer = await probe();
      if (answer !== undefined) return answer;
      last = 'not yet';
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) {
      throw new Error(`${what}: not within ${ms / 1000} s (${last})`, { cause: last });
    }
    await new Promise((resume) => setTimeout(resume, 100));
  }
}

/** `promise`, or an error after `ms`. */
export async function within(what, ms, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${ms / 1000} s`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
