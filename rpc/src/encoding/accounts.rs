//! Accounts as text.

use super::tokens;
use crate::{chain::BankView, error::RpcError};
use base64::{Engine, prelude::BASE64_STANDARD};
use solana_account::{AccountSharedData, ReadableAccount};
use solana_account_decoder_client_types::{
    ParsedAccount, UiAccount, UiAccountData, UiAccountEncoding, UiDataSliceConfig,
};

/// Base58 takes time that grows with the square of the length, so it is only done for this many bytes.
const BASE58_BYTES_MAX: usize = 128;
/// How hard zstd tries; 0 is its own default.
const ZSTD_LEVEL: i32 = 0;

/// An account in the encoding that is asked for.
///
/// # Errors
/// If it is too long for base58.
pub(crate) fn encode_account(
    bank: &dyn BankView,
    account: &AccountSharedData,
    encoding: UiAccountEncoding,
    slice: Option<UiDataSliceConfig>,
) -> Result<UiAccount, RpcError> {
    let data = sliced(account.data(), slice);
    let base64 = |data: &[u8]| UiAccountData::Binary(BASE64_STANDARD.encode(data), UiAccountEncoding::Base64);
    let data = match encoding {
        UiAccountEncoding::Binary => UiAccountData::LegacyBinary(base58(data)?),
        UiAccountEncoding::Base58 => UiAccountData::Binary(base58(data)?, encoding),
        UiAccountEncoding::Base64 => base64(data),
        UiAccountEncoding::Base64Zstd => match zstd::encode_all(data, ZSTD_LEVEL) {
            Ok(packed) => UiAccountData::Binary(BASE64_STANDARD.encode(packed), encoding),
            Err(_) => base64(data),
        },
        UiAccountEncoding::JsonParsed => match tokens::parse_account(bank, account.owner(), account.data()) {
            Some((program, parsed)) => {
                let space = account.data().len() as u64;
                UiAccountData::Json(ParsedAccount { program: program.to_owned(), parsed, space })
            }
            None => base64(data),
        },
    };
    Ok(UiAccount {
        lamports: account.lamports(),
        data,
        owner: account.owner().to_string(),
        executable: account.executable(),
        rent_epoch: account.rent_epoch(),
        space: Some(account.data().len() as u64),
    })
}

fn base58(data: &[u8]) -> Result<String, RpcError> {
    if data.len() > BASE58_BYTES_MAX {
        return Err(RpcError::invalid_request(
            "Encoded binary (base 58) data should be less than 128 bytes, please use Base64 encoding.",
        ));
    }
    Ok(bs58::encode(data).into_string())
}

/// The part of the data that is asked for; what lies beyond the end is left out.
fn sliced(data: &[u8], slice: Option<UiDataSliceConfig>) -> &[u8] {
    let Some(UiDataSliceConfig { offset, length }) = slice else {
        return data;
    };
    let rest = data.get(offset..).unwrap_or_default();
    &rest[..length.min(rest.len())]
}
