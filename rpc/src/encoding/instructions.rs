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
const MEMO_PROGRAM_1: Pubkey =
    Pubkey::from_str_const("Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo");
const MEMO_PROGRAM: Pubkey = Pubkey::from_str_const("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr");

/// An instruction in words if it is known, else with its addresses.
pub(crate) fn parse_instruction(
    instruction: &CompiledInstruction,
    keys: &[Pubkey],
    stack_height: Option<u32>,
) -> UiInstruction {
    let key = |index: u8| keys.get(usize::from(index)).copied().unwrap_or_default();
    let program_id = key(instruction.program_id_index);
    let accounts: Vec<String> = instruction
        .accounts
        .iter()
        .map(|index| key(*index).to_string())
        .collect();
    let known = match program_id {
        SYSTEM_PROGRAM => system(&instruction.data, &accounts).map(|parsed| ("system", parsed)),
        TOKEN_PROGRAM => token(&instruction.data, &accounts).map(|parsed| ("spl-token", parsed)),
        TOKEN_2022_PROGRAM => {
            token(&instruction.data, &accounts).map(|parsed| ("spl-token-2022", parsed))
        }
        MEMO_PROGRAM | MEMO_PROGRAM_1 => std::str::from_utf8(&instruction.data)
            .ok()
            .map(|text| ("spl-memo", json!(text))),
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
        SystemInstruction::CreateAccount {
            lamports,
            space,
            owner,
        } => words(
            "createAccount",
            json!({ "source": account(0)?, "newAccount": account(1)?, "lamports": lamports, "space": space, "owner": owner.to_string() }),
        ),
        SystemInstruction::Assign { owner } => words(
            "assign",
            json!({ "account": account(0)?, "owner": owner.to_string() }),
        ),
        SystemInstruction::Transfer { lamports } => words(
            "transfer",
            json!({ "source": account(0)?, "destination": account(1)?, "lamports": lamports }),
        ),
        SystemInstruction::CreateAccountWithSeed {
            base,
            seed,
            lamports,
            space,
            owner,
        } => words(
            "createAccountWithSeed",
            json!({
                "source": account(0)?, "newAccount": account(1)?, "base": base.to_string(), "seed": seed,
                "lamports": lamports, "space": space, "owner": owner.to_string(),
            }),
        ),
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
        SystemInstruction::Allocate { space } => words(
            "allocate",
            json!({ "account": account(0)?, "space": space }),
        ),
        SystemInstruction::TransferWithSeed {
            lamports,
            from_seed,
            from_owner,
        } => words(
            "transferWithSeed",
            json!({
                "source": account(0)?, "sourceBase": account(1)?, "destination": account(2)?, "lamports": lamports,
                "sourceSeed": from_seed, "sourceOwner": from_owner.to_string(),
            }),
        ),
        SystemInstruction::UpgradeNonceAccount => {
            words("upgradeNonce", json!({ "nonceAccount": account(0)? }))
        }
        _ => return None,
    })
}

/// An instruction of the token programs: moving, minting, burning, opening and closing.
fn token(data: &[u8], accounts: &[String]) -> Option<Value> {
    let (tag, rest) = data.split_first()?;
    let amount = || Some(u64::from_le_bytes(*rest.first_chunk()?));
    let account = |index: usize| accounts.get(index);
    let plain = |names: &[&str], authority: &str| -> Option<Map<String, Value>> {
        let mut info = Map::new();
        for (index, name) in names.iter().enumerate() {
            info.insert((*name).to_owned(), json!(account(index)?));
        }
        sign(&mut info, authority, accounts.get(names.len()..)?)?;
        Some(info)
    };
    let with_amount = |mut info: Map<String, Value>| {
        info.insert("amount".to_owned(), json!(amount()?.to_string()));
        Some(Value::Object(info))
    };
    let checked = |mut info: Map<String, Value>| {
        info.insert(
            "tokenAmount".to_owned(),
            serde_json::to_value(token_amount(amount()?, *rest.get(8)?)).ok()?,
        );
        Some(Value::Object(info))
    };
    Some(match tag {
        1 => words(
            "initializeAccount",
            json!({ "account": account(0)?, "mint": account(1)?, "owner": account(2)?, "rentSysvar": account(3)? }),
        ),
        3 => words(
            "transfer",
            with_amount(plain(&["source", "destination"], "authority")?)?,
        ),
        4 => words(
            "approve",
            with_amount(plain(&["source", "delegate"], "owner")?)?,
        ),
        5 => words("revoke", Value::Object(plain(&["source"], "owner")?)),
        7 => words(
            "mintTo",
            with_amount(plain(&["mint", "account"], "mintAuthority")?)?,
        ),
        8 => words(
            "burn",
            with_amount(plain(&["account", "mint"], "authority")?)?,
        ),
        9 => words(
            "closeAccount",
            Value::Object(plain(&["account", "destination"], "owner")?),
        ),
        12 => words(
            "transferChecked",
            checked(plain(&["source", "mint", "destination"], "authority")?)?,
        ),
        14 => words(
            "mintToChecked",
            checked(plain(&["mint", "account"], "mintAuthority")?)?,
        ),
        15 => words(
            "burnChecked",
            checked(plain(&["account", "mint"], "authority")?)?,
        ),
        17 => words("syncNative", json!({ "account": account(0)? })),
        18 => words(
            "initializeAccount3",
            json!({ "account": account(0)?, "mint": account(1)?, "owner": Pubkey::new_from_array(*rest.first_chunk()?).to_string() }),
        ),
        22 => words(
            "initializeImmutableOwner",
            json!({ "account": account(0)? }),
        ),
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
