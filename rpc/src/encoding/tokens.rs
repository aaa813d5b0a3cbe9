//! SPL token accounts and mints: their bytes, and how they look to people.

use crate::chain::BankView;
use serde_json::Value;
use solana_account::ReadableAccount;
use solana_account_decoder_client_types::token::{
    TokenAccountType, UiAccountState, UiMint, UiTokenAccount, UiTokenAmount, real_number_string_trimmed,
};
use sundog_types::Pubkey;

/// The first token program.
pub(crate) const TOKEN_PROGRAM: Pubkey = Pubkey::from_str_const("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA");
/// The token program with extensions.
pub(crate) const TOKEN_2022_PROGRAM: Pubkey = Pubkey::from_str_const("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb");
/// The programs whose accounts are tokens.
pub(crate) const TOKEN_PROGRAMS: [Pubkey; 2] = [TOKEN_PROGRAM, TOKEN_2022_PROGRAM];
/// The length of a token account without extensions, in bytes.
const ACCOUNT_BYTES: usize = 165;
/// The length of a mint without extensions, in bytes.
const MINT_BYTES: usize = 82;
/// What says, after the space of a token account, that an extended one is a mint.
const EXTENDED_MINT: u8 = 1;
/// What says, after the space of a token account, that an extended one is an account.
const EXTENDED_ACCOUNT: u8 = 2;

/// A token account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TokenAccount {
    /// The kind of token.
    pub(crate) mint: Pubkey,
    /// Who owns the tokens.
    pub(crate) owner: Pubkey,
    /// How many of the smallest unit.
    pub(crate) amount: u64,
    /// Who may also move some of them.
    pub(crate) delegate: Option<Pubkey>,
    frozen: bool,
    native_reserve: Option<u64>,
    delegated_amount: u64,
    close_authority: Option<Pubkey>,
}

impl TokenAccount {
    /// Reads an initialised token account, with or without extensions.
    pub(crate) fn parse(data: &[u8]) -> Option<Self> {
        let extended = data.get(ACCOUNT_BYTES) == Some(&EXTENDED_ACCOUNT);
        if data.len() != ACCOUNT_BYTES && !extended {
            return None;
        }
        let state = data[108];
        Some(Self {
            mint: key(data, 0)?,
            owner: key(data, 32)?,
            amount: number(data, 64)?,
            delegate: option(data, 72)?.then(|| key(data, 76)).flatten(),
            frozen: match state {
                1 => false,
                2 => true,
                _ => return None,
            },
            native_reserve: option(data, 109)?.then(|| number(data, 113)).flatten(),
            delegated_amount: number(data, 121)?,
            close_authority: option(data, 129)?.then(|| key(data, 133)).flatten(),
        })
    }

    fn show(&self, decimals: u8) -> TokenAccountType {
        let state = if self.frozen { UiAccountState::Frozen } else { UiAccountState::Initialized };
        TokenAccountType::Account(UiTokenAccount {
            mint: self.mint.to_string(),
            owner: self.owner.to_string(),
            token_amount: token_amount(self.amount, decimals),
            delegate: self.delegate.map(|key| key.to_string()),
            state,
            is_native: self.native_reserve.is_some(),
            rent_exempt_reserve: self.native_reserve.map(|reserve| token_amount(reserve, decimals)),
            delegated_amount: self.delegate.map(|_| token_amount(self.delegated_amount, decimals)),
            close_authority: self.close_authority.map(|key| key.to_string()),
            extensions: Vec::new(),
        })
    }
}

/// A mint: a kind of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mint {
    authority: Option<Pubkey>,
    /// How many of the smallest unit there are.
    pub(crate) supply: u64,
    /// How many of the smallest unit's digits are behind the point.
    pub(crate) decimals: u8,
    freeze_authority: Option<Pubkey>,
}

impl Mint {
    /// Reads an initialised mint, with or without extensions.
    pub(crate) fn parse(data: &[u8]) -> Option<Self> {
        let extended = data.get(ACCOUNT_BYTES) == Some(&EXTENDED_MINT);
        if (data.len() != MINT_BYTES && !extended) || data[45] != 1 {
            return None;
        }
        Some(Self {
            authority: option(data, 0)?.then(|| key(data, 4)).flatten(),
            supply: number(data, 36)?,
            decimals: data[44],
            freeze_authority: option(data, 46)?.then(|| key(data, 50)).flatten(),
        })
    }

    fn show(&self) -> TokenAccountType {
        TokenAccountType::Mint(UiMint {
            mint_authority: self.authority.map(|key| key.to_string()),
            supply: self.supply.to_string(),
            decimals: self.decimals,
            is_initialized: true,
            freeze_authority: self.freeze_authority.map(|key| key.to_string()),
            extensions: Vec::new(),
        })
    }
}

/// An account of the token programs as people read it; `None` if it is none, or has extensions,
/// which are not read.
pub(crate) fn parse_account(bank: &dyn BankView, owner: &Pubkey, data: &[u8]) -> Option<(&'static str, Value)> {
    let program = match *owner {
        TOKEN_PROGRAM => "spl-token",
        TOKEN_2022_PROGRAM => "spl-token-2022",
        _ => return None,
    };
    let shown = match data.len() {
        ACCOUNT_BYTES => {
            let token = TokenAccount::parse(data)?;
            let mint = bank.account(&token.mint)?;
            token.show(Mint::parse(mint.data())?.decimals)
        }
        MINT_BYTES => Mint::parse(data)?.show(),
        _ => return None,
    };
    Some((program, serde_json::to_value(shown).ok()?))
}

/// An amount of tokens in every form that callers want it in.
pub(crate) fn token_amount(amount: u64, decimals: u8) -> UiTokenAmount {
    let unit = 10u64.checked_pow(u32::from(decimals));
    UiTokenAmount {
        ui_amount: unit.map(|unit| amount as f64 / unit as f64),
        decimals,
        amount: amount.to_string(),
        ui_amount_string: real_number_string_trimmed(amount, decimals),
    }
}

fn key(data: &[u8], at: usize) -> Option<Pubkey> {
    Some(Pubkey::new_from_array(*data.get(at..)?.first_chunk()?))
}

fn number(data: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*data.get(at..)?.first_chunk()?))
}

/// Whether an optional field is there; `None` if its tag is neither yes nor no.
fn option(data: &[u8], at: usize) -> Option<bool> {
    match u32::from_le_bytes(*data.get(at..)?.first_chunk()?) {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}
