//! Instructions in words: those that nearly every transaction has. All others are told with their
//! addresses and bare data.

use super::tokens::{TOKEN_2022_PROGRAM, TOKEN_PROGRAM, token_amount};
use serde_json::{Map, Value, json};
use solana_message::compiled_instruction::CompiledInstruction;
use solana_system_interface::instruction::SystemInstruction;
use solana_transaction_status_client_types::{
    ParsedInstruction, UiInstruction, UiParsedInstruction, UiPartiallyDecodedInstruction,
};
use sundog_types::Pubkey;

const SYSTEM_PROGRAM: Pubkey = Pubkey::new_from_array([0; 32]);
const MEMO_PROGRAM_1: Pubkey = Pubkey::from_str_const("Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo");
const MEMO_PROGRAM: Pubkey = Pubkey::from_str_const("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr");

/// An instruction in words if it is known, else with its addresses.
pub(crate) fn parse_instruction(
    instruction: &CompiledInstruction,
    keys: &[Pubkey],
    stack_height: Option<u32>,
) -> UiInstruction {
    let key = |index: u8| keys.get(usize::from(index)).copied().unwrap_or_default();
    let program_id = key(instruction.program_id_index);
    let accounts: Vec<String> = instruction.accounts.iter().map(|index| key(*index).to_string()).collect();
    let known = match program_id {
        SYSTEM_PROGRAM => system(&instruction.data, &accounts).map(|parsed| ("system", parsed)),
        TOKEN_PROGRAM => token(&instruction.data, &accounts).map(|parsed| ("spl-token", parsed)),
        TOKEN_2022_PROGRAM => token(&instruction.data, &accounts).map(|parsed| ("spl-token-2022", parsed)),
        MEMO_PROGRAM | MEMO_PROGRAM_1 => {
            std::str::from_utf8(&instruction.data).ok().map(|text| ("spl-memo", json!(text)))
        }
        _ => None,
    };
    UiInstruction::Parsed(match known {
        Some((program, parsed)) => UiParsedInstruction::Parsed(ParsedInstruction {
            program: program.to_owned(),
            program_id: program_id.to_string(),
            parsed,
            stack_height,
        }),
        None => UiParsedInstruction::PartiallyDecoded(UiPartiallyDecodedInstruction {
            program_id: program_id.to_string(),
            accounts,
            data: bs58::encode(&instruction.data).into_string(),
            stack_height,
        }),
    })
}

fn words(kind: &str, info: Value) -> Value {
    json!({ "type": kind, "info": info })
}

/// An instruction of the system program (reference 11.3).
fn system(data: &[u8], accounts: &[String]) -> Option<Value> {
    let account = |index: usize| accounts.get(index);
    Some(match bincode::deserialize(data).ok()? {
        SystemInstruction::CreateAccount { lamports, space, owner } => words(
            "createAccount",
            json!({ "source": account(0)?, "newAccount": account(1)?, "lamports": lamports, "space": space, "owner": owner.to_string() }),
        ),
        SystemInstruction::Assign { owner } => {
            words("assign", json!({ "account": account(0)?, "owner": owner.to_string() }))
        }
        SystemInstruction::Transfer { lamports } => {
            words("transfer", json!({ "source": account(0)?, "destination": account(1)?, "lamports": lamports }))
        }
        SystemInstruction::CreateAccountWithSeed { base, seed, lamports, space, owner } => words(
            "createAccountWithSeed",
            json!({
                "source": account(0)?, "newAccount": account(1)?, "base": base.to_string(), "seed": seed,
                "lamports": lamports, "space": space, "owner": owner.to_string(),
            }),
        ),
        SystemInstruction::Allocate { space } => words("allocate", json!({ "account": account(0)?, "space": space })),
        SystemInstruction::TransferWithSeed { lamports, from_seed, from_owner } => words(
            "transferWithSeed",
            json!({
                "source": account(0)?, "sourceBase": account(1)?, "destination": account(2)?, "lamports": lamports,
                "sourceSeed": from_seed, "sourceOwner": from_owner.to_string(),
            }),
        ),
        other => return nonce(&other, accounts),
    })
}

/// An instruction of the system program about durable nonces.
fn nonce(instruction: &SystemInstruction, accounts: &[String]) -> Option<Value> {
    let account = |index: usize| accounts.get(index);
    Some(match instruction {
        SystemInstruction::AdvanceNonceAccount => words(
            "advanceNonce",
            json!({ "nonceAccount": account(0)?, "recentBlockhashesSysvar": account(1)?, "nonceAuthority": account(2)? }),
        ),
        SystemInstruction::WithdrawNonceAccount(lamports) => words(
            "withdrawFromNonce",
            json!({
                "nonceAccount": account(0)?, "destination": account(1)?, "recentBlockhashesSysvar": account(2)?,
                "rentSysvar": account(3)?, "nonceAuthority": account(4)?, "lamports": lamports,
            }),
        ),
        SystemInstruction::InitializeNonceAccount(authority) => words(
            "initializeNonce",
            json!({
                "nonceAccount": account(0)?, "recentBlockhashesSysvar": account(1)?, "rentSysvar": account(2)?,
                "nonceAuthority": authority.to_string(),
            }),
        ),
        SystemInstruction::AuthorizeNonceAccount(authority) => words(
            "authorizeNonce",
            json!({ "nonceAccount": account(0)?, "nonceAuthority": account(1)?, "newAuthorized": authority.to_string() }),
        ),
        SystemInstruction::UpgradeNonceAccount => words("upgradeNonce", json!({ "nonceAccount": account(0)? })),
        _ => return None,
    })
}

/// What an instruction of the token programs says about an amount.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Amount {
    Absent,
    Plain,
    /// With the decimals that the mint must have.
    Checked,
}

/// Instructions of the token programs that somebody must sign: tag, name, what its accounts are, who
/// signs, and what it says about an amount.
const SIGNED_TOKEN_INSTRUCTIONS: [(u8, &str, &[&str], &str, Amount); 9] = [
    (3, "transfer", &["source", "destination"], "authority", Amount::Plain),
    (4, "approve", &["source", "delegate"], "owner", Amount::Plain),
    (5, "revoke", &["source"], "owner", Amount::Absent),
    (7, "mintTo", &["mint", "account"], "mintAuthority", Amount::Plain),
    (8, "burn", &["account", "mint"], "authority", Amount::Plain),
    (9, "closeAccount", &["account", "destination"], "owner", Amount::Absent),
    (12, "transferChecked", &["source", "mint", "destination"], "authority", Amount::Checked),
    (14, "mintToChecked", &["mint", "account"], "mintAuthority", Amount::Checked),
    (15, "burnChecked", &["account", "mint"], "authority", Amount::Checked),
];

/// An instruction of the token programs: moving, minting, burning, opening and closing.
fn token(data: &[u8], accounts: &[String]) -> Option<Value> {
    let (tag, rest) = data.split_first()?;
    let account = |index: usize| accounts.get(index);
    let signed = SIGNED_TOKEN_INSTRUCTIONS.iter().find(|known| known.0 == *tag);
    if let Some((_, name, names, authority, says)) = signed {
        let mut info = Map::new();
        for (index, name) in names.iter().enumerate() {
            info.insert((*name).to_owned(), json!(account(index)?));
        }
        sign(&mut info, authority, accounts.get(names.len()..)?)?;
        if *says != Amount::Absent {
            let amount = u64::from_le_bytes(*rest.first_chunk()?);
            match says {
                Amount::Checked => info.insert("tokenAmount".to_owned(), json!(token_amount(amount, *rest.get(8)?))),
                _ => info.insert("amount".to_owned(), json!(amount.to_string())),
            };
        }
        return Some(words(name, Value::Object(info)));
    }
    Some(match tag {
        1 => words(
            "initializeAccount",
            json!({ "account": account(0)?, "mint": account(1)?, "owner": account(2)?, "rentSysvar": account(3)? }),
        ),
        17 => words("syncNative", json!({ "account": account(0)? })),
        18 => words(
            "initializeAccount3",
            json!({ "account": account(0)?, "mint": account(1)?, "owner": Pubkey::new_from_array(*rest.first_chunk()?).to_string() }),
        ),
        22 => words("initializeImmutableOwner", json!({ "account": account(0)? })),
        _ => return None,
    })
}

/// Tells who signed: one authority, or a multisignature account and its signers.
fn sign(info: &mut Map<String, Value>, authority: &str, rest: &[String]) -> Option<()> {
    let (first, signers) = rest.split_first()?;
    if signers.is_empty() {
        info.insert(authority.to_owned(), json!(first));
        return Some(());
    }
    let mut name = String::from("multisig");
    let mut letters = authority.chars();
    name.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
    name.extend(letters);
    info.insert(name, json!(first));
    info.insert("signers".to_owned(), json!(signers));
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks how data for a program with the accounts 1, 2, 3 … is told.
    #[track_caller]
    fn check(program: Pubkey, accounts: u8, data: &[u8], expect: Value) {
        let keys: Vec<_> = (0..=accounts)
            .map(|n| match n {
                0 => program,
                n => Pubkey::new_from_array([n; 32]),
            })
            .collect();
        let instruction =
            CompiledInstruction { program_id_index: 0, accounts: (1..=accounts).collect(), data: data.to_vec() };
        let told = serde_json::to_value(parse_instruction(&instruction, &keys, None));
        let told = told.expect("JSON");
        assert_eq!(told.get("parsed").unwrap_or(&told["data"]), &expect);
    }

    fn key(n: u8) -> String {
        Pubkey::new_from_array([n; 32]).to_string()
    }

    fn amount(tag: u8, rest: &[u8]) -> Vec<u8> {
        [&[tag][..], &1_500u64.to_le_bytes(), rest].concat()
    }

    #[test]
    fn a_memo_is_its_text() {
        check(MEMO_PROGRAM, 0, b"hi", json!("hi"));
        check(MEMO_PROGRAM, 0, &[0xff], json!("5Q"));
    }

    #[test]
    fn a_token_transfer_names_its_one_authority() {
        let info = json!({ "source": key(1), "destination": key(2), "authority": key(3), "amount": "1500" });
        check(TOKEN_PROGRAM, 3, &amount(3, &[]), words("transfer", info.clone()));
        check(TOKEN_2022_PROGRAM, 3, &amount(3, &[]), words("transfer", info));
    }

    #[test]
    fn a_checked_token_transfer_by_several_names_them_all() {
        let info = json!({
            "source": key(1), "mint": key(2), "destination": key(3), "multisigAuthority": key(4), "signers": [key(5), key(6)],
            "tokenAmount": { "amount": "1500", "decimals": 3, "uiAmount": 1.5, "uiAmountString": "1.5" },
        });
        check(TOKEN_PROGRAM, 6, &amount(12, &[3]), words("transferChecked", info));
    }

    #[test]
    fn a_nonce_advance_names_its_accounts() {
        let info = json!({ "nonceAccount": key(1), "recentBlockhashesSysvar": key(2), "nonceAuthority": key(3) });
        check(SYSTEM_PROGRAM, 3, &[4, 0, 0, 0], words("advanceNonce", info));
    }

    #[test]
    fn what_is_incomplete_is_told_as_data() {
        for (program, accounts, data) in [
            (TOKEN_PROGRAM, 2, amount(3, &[])),
            (TOKEN_PROGRAM, 3, vec![3, 1]),
            (TOKEN_PROGRAM, 4, amount(12, &[])),
            (TOKEN_PROGRAM, 3, vec![]),
            (SYSTEM_PROGRAM, 1, vec![4, 0, 0, 0]),
            (SYSTEM_PROGRAM, 3, vec![99, 0, 0, 0]),
        ] {
            let bare = bs58::encode(&data).into_string();
            check(program, accounts, &data, json!(bare));
        }
    }
}
