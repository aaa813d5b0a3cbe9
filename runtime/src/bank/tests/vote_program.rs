//! Vote instructions through a bank, against the reference's vectors.

use super::*;

fn state(bank: &Bank, vote_account: &Pubkey) -> Value {
    let account = bank.account(vote_account).unwrap();
    let state = VoteStateV4::deserialize(account.data(), vote_account).unwrap();
    let votes: Vec<_> =
        state.votes.iter().map(|vote| (vote.lockout.slot(), vote.lockout.confirmation_count(), vote.latency)).collect();
    serde_json::json!({
        "votes": votes,
        "root": state.root_slot,
        "epoch_credits": state.epoch_credits,
        "last_timestamp": (state.last_timestamp.slot, state.last_timestamp.timestamp),
    })
}

fn result(status: &Result<(), solana_transaction_error::TransactionError>) -> String {
    use solana_instruction::error::InstructionError;
    use solana_transaction_error::TransactionError;
    match status {
        Ok(()) => "ok".to_owned(),
        Err(TransactionError::InstructionError(0, InstructionError::Custom(code))) => {
            format!("custom {code}")
        }
        Err(error) => format!("{error:?}"),
    }
}

fn expected(result: &str) -> String {
    result.split_once(" (").map_or_else(|| result.to_owned(), |(_, code)| code.trim_end_matches(')').to_owned())
}

/// Puts blocks, oldest first, into the SlotHashes sysvar.
fn know(bank: &mut Bank, blocks: &[(u64, Hash)]) {
    let newest: Vec<_> = blocks.iter().rev().take(512).copied().collect();
    let mut data = bincode::serialize(&newest).unwrap();
    data.resize(20_488, 0);
    bank.write_sysvar(sysvar::slot_hashes::ID, data);
}

#[test]
fn every_attempt_ends_as_the_reference_says() {
    let file = vectors("vote_program.json");
    let vote_account = Pubkey::from(base58(&file["vote_account"]));
    let voter = Pubkey::from(base58(&file["authorized_voter"]));
    let node = Pubkey::from(base58(&file["node"]));
    let blocks: Vec<(u64, Hash)> = file["blocks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|block| (block[0].as_u64().unwrap(), Hash::new_from_array(base58(&block[1]))))
        .collect();
    let mut genesis = localnet(8_192);
    let mut first = validator(node, vote_account);
    first.vote_authority = voter;
    genesis.validators = vec![first];
    let genesis = start(&genesis);
    let mut account = genesis.account(&vote_account).unwrap();
    let attempts = file["attempts"].as_array().unwrap();
    for (number, attempt) in attempts.iter().enumerate() {
        let slot = attempt["bank_slot"].as_u64().unwrap();
        let known = attempt["ancestors"].as_u64().unwrap() as usize;
        let mut bank = Bank::child(&genesis, Slot::new(slot), node);
        know(&mut bank, &blocks[..known]);
        bank.store(vote_account, account.clone());
        bank.svm.read_sysvars(&bank);
        let at = format!("attempt {number}, {}", attempt["what"]);
        assert_eq!(state(&bank, &vote_account), attempt["before"], "before, {at}");
        let signer = if attempt["signer"] == "stranger" { address(77) } else { voter };
        let instruction = Instruction {
            program_id: vote::ID,
            accounts: vec![AccountMeta::new(vote_account, false), AccountMeta::new_readonly(signer, true)],
            data: BASE64_STANDARD.decode(attempt["data"].as_str().unwrap()).unwrap(),
        };
        let blockhash = bank.last_blockhash();
        let done = run(&mut bank, unsigned(&[instruction], &FAUCET, blockhash)).expect("it gets into the block");
        assert_eq!(result(&done.status), expected(attempt["result"].as_str().unwrap()), "{at}");
        let after = if attempt["after"].is_null() { &attempt["before"] } else { &attempt["after"] };
        assert_eq!(state(&bank, &vote_account), *after, "after, {at}");
        account = bank.account(&vote_account).unwrap();
    }
    assert!(attempts.len() > 200);
}
