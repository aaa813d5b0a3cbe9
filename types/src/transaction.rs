//! Transactions on the wire: the one place where their bytes become values.
//!
//! The SDK's own decoders also know message version 1, which the reference refuses (reference 16.13),
//! and reserve memory by counts that the sender claims. This decoder does neither.

use crate::{Hash, Pubkey, Signature};
use solana_message::{
    Message, MessageHeader, VersionedMessage,
    compiled_instruction::CompiledInstruction,
    v0::{self, MessageAddressTableLookup},
};
use solana_transaction::versioned::VersionedTransaction;

/// A serialised transaction must fit one packet: IPv6 MTU minus headers (reference 1.1).
pub const TRANSACTION_BYTES_MAX: usize = 1_232;

/// First message byte with this bit set: a version number follows in the other seven.
const VERSION_BIT: u8 = 0x80;

/// Why bytes are no transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// The bytes end inside a field.
    #[error("the bytes end inside a field of the transaction; send the rest")]
    Cut,
    /// A count is not the shortest compact-u16 form, or exceeds 65,535 (reference 1.2).
    #[error("a count is not a canonical compact-u16; encode it in its shortest form")]
    Count,
    /// The message is neither legacy nor version 0 (reference 1.4).
    #[error("message version {0} is not accepted; use a legacy or a version 0 message")]
    Version(u8),
    /// Bytes follow the transaction (only where it must be alone).
    #[error("{0} bytes follow the transaction; send it alone")]
    Trailing(usize),
}

/// A transaction with the places of its parts in the bytes it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedTransaction {
    /// The value.
    pub transaction: VersionedTransaction,
    /// Where the message, which is what was signed, begins.
    pub message_offset: usize,
    /// How many bytes the transaction took.
    pub length: usize,
}

impl DecodedTransaction {
    /// The signed bytes within `bytes`, from which this was decoded.
    #[must_use]
    pub fn message_bytes<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.message_offset..self.length).unwrap_or_default()
    }
}

/// Decodes the transaction at the front of `bytes` (reference 1.2 to 1.6). Nothing but its form is
/// checked: neither the indexes in it nor its signatures.
///
/// # Errors
/// When the bytes are not a legacy or version 0 transaction.
pub fn decode_transaction(bytes: &[u8]) -> Result<DecodedTransaction, TransactionError> {
    let mut reader = Reader { bytes, at: 0 };
    let signatures = reader.list(64, |r| r.array().map(Signature::from))?;
    let message_offset = reader.at;
    let message = message(&mut reader)?;
    let transaction = VersionedTransaction { signatures, message };
    Ok(DecodedTransaction { transaction, message_offset, length: reader.at })
}

/// Decodes a transaction that must take all of `bytes`, as in a packet or an RPC call.
///
/// # Errors
/// As [`decode_transaction`], and when bytes are left over.
pub fn decode_whole_transaction(bytes: &[u8]) -> Result<DecodedTransaction, TransactionError> {
    let decoded = decode_transaction(bytes)?;
    match bytes.len() - decoded.length {
        0 => Ok(decoded),
        left => Err(TransactionError::Trailing(left)),
    }
}

/// The wire form of a transaction.
///
/// # Panics
/// If a list in it is longer than 65,535, which no decoded transaction's is.
#[must_use]
pub fn encode_transaction(transaction: &VersionedTransaction) -> Vec<u8> {
    bincode::serialize(transaction).expect("lists of a transaction are short")
}

/// Decodes a compact-u16 at the front of `bytes`: the value, and how many bytes it took. At most three
/// bytes, the third at most 3, and no needless zero at the end (reference 1.2).
///
/// # Errors
/// When the bytes end inside it, or when it is not in its one canonical form.
pub fn decode_compact_u16(bytes: &[u8]) -> Result<(u16, usize), TransactionError> {
    let mut value = 0;
    for place in 0..3 {
        let byte = *bytes.get(place).ok_or(TransactionError::Cut)?;
        if (place > 0 && byte == 0) || (place == 2 && byte > 3) {
            return Err(TransactionError::Count);
        }
        value |= u16::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok((value, place + 1));
        }
    }
    Err(TransactionError::Count)
}

fn message(reader: &mut Reader<'_>) -> Result<VersionedMessage, TransactionError> {
    let first = reader.byte()?;
    let versioned = first & VERSION_BIT != 0;
    if versioned && first != VERSION_BIT {
        return Err(TransactionError::Version(first & !VERSION_BIT));
    }
    let header = MessageHeader {
        num_required_signatures: if versioned { reader.byte()? } else { first },
        num_readonly_signed_accounts: reader.byte()?,
        num_readonly_unsigned_accounts: reader.byte()?,
    };
    let account_keys = reader.list(32, |r| r.array().map(Pubkey::from))?;
    let recent_blockhash = Hash::new_from_array(reader.array()?);
    let instructions = reader.list(3, instruction)?;
    if !versioned {
        let message = Message { header, account_keys, recent_blockhash, instructions };
        return Ok(VersionedMessage::Legacy(message));
    }
    let address_table_lookups = reader.list(34, lookup)?;
    Ok(VersionedMessage::V0(v0::Message {
        header,
        account_keys,
        recent_blockhash,
        instructions,
        address_table_lookups,
    }))
}

fn instruction(reader: &mut Reader<'_>) -> Result<CompiledInstruction, TransactionError> {
    Ok(CompiledInstruction {
        program_id_index: reader.byte()?,
        accounts: reader.byte_list()?,
        data: reader.byte_list()?,
    })
}

fn lookup(reader: &mut Reader<'_>) -> Result<MessageAddressTableLookup, TransactionError> {
    Ok(MessageAddressTableLookup {
        account_key: Pubkey::from(reader.array::<32>()?),
        writable_indexes: reader.byte_list()?,
        readonly_indexes: reader.byte_list()?,
    })
}

/// Reads forward through bytes from outside.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], TransactionError> {
        let end = self.at.checked_add(length).ok_or(TransactionError::Cut)?;
        let taken = self.bytes.get(self.at..end).ok_or(TransactionError::Cut)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TransactionError> {
        self.take(N)?.try_into().map_err(|_| TransactionError::Cut)
    }

    fn byte(&mut self) -> Result<u8, TransactionError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn count(&mut self) -> Result<usize, TransactionError> {
        let (count, length) = decode_compact_u16(self.bytes.get(self.at..).unwrap_or_default())?;
        self.at += length;
        Ok(usize::from(count))
    }

    /// A list of items of at least `item_bytes_min` bytes each: memory is only reserved for as many
    /// as the remaining bytes can hold.
    fn list<T>(
        &mut self,
        item_bytes_min: usize,
        item: impl Fn(&mut Self) -> Result<T, TransactionError>,
    ) -> Result<Vec<T>, TransactionError> {
        let count = self.count()?;
        if count > (self.bytes.len() - self.at) / item_bytes_min {
            return Err(TransactionError::Cut);
        }
        (0..count).map(|_| item(self)).collect()
    }

    fn byte_list(&mut self) -> Result<Vec<u8>, TransactionError> {
        let count = self.count()?;
        self.take(count).map(<[u8]>::to_vec)
    }
}
