//! Identities on connections: self-signed Ed25519 certificates, mutual TLS 1.3, and nothing else.
//!
//! A peer is whoever can sign the TLS handshake with the Ed25519 key in its certificate. Chains and
//! self-signatures are not looked at, because stock Solana clients carry a fixed certificate template whose
//! self-signature is invalid (reference 9.4). Only Ed25519 is offered, so the key that signed the handshake is
//! the one that [`peer_identity`] reads.

use rustls::{
    DigitallySignedStruct, DistinguishedName, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, tls13::OkmBlock, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use solana_keypair::Keypair;
use std::sync::Arc;
use sundog_types::Pubkey;

/// DER of an Ed25519 SubjectPublicKeyInfo up to the key (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// DER of a PKCS#8 version 1 Ed25519 private key up to the seed (RFC 8410).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// What went wrong with a certificate or a TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate could not be made.
    #[error("the identity's certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS refused the configuration.
    #[error("TLS refused the identity's certificate: {0}")]
    Tls(#[from] rustls::Error),
    /// QUIC needs a cipher suite that the provider does not have.
    #[error("no TLS 1.3 cipher suite that QUIC can start with: {0}")]
    Quic(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
}

/// The key and certificate of an identity.
pub struct Credentials {
    certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
}

impl Credentials {
    /// A self-signed certificate for an identity.
    ///
    /// # Errors
    /// If the key cannot be used.
    pub fn new(identity: &Keypair) -> Result<Self, TlsError> {
        let mut pkcs8 = PKCS8_PREFIX.to_vec();
        pkcs8.extend_from_slice(&identity.to_bytes()[..32]);
        let key = PrivatePkcs8KeyDer::from(pkcs8);
        let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&key, &rcgen::PKCS_ED25519)?;
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()])?;
        params.distinguished_name.push(rcgen::DnType::CommonName, "Solana node");
        let certificate = params.self_signed(&pair)?.der().clone();
        Ok(Self { certificate, key })
    }

    /// A certificate as stock Solana clients carry it: its self-signature is 64 times 0xff, and does not hold.
    ///
    /// # Errors
    /// If the key cannot be used.
    pub fn with_invalid_signature(identity: &Keypair) -> Result<Self, TlsError> {
        let Self { certificate, key } = Self::new(identity)?;
        let mut der = certificate.to_vec();
        // An Ed25519 signature is the last field of a certificate (RFC 5280, 4.1).
        let signature = der.len() - 64;
        der[signature..].fill(0xff);
        Ok(Self { certificate: der.into(), key })
    }

    /// A secret of this identity for a purpose: the same in every life of the process.
    #[must_use]
    pub fn secret(&self, purpose: &[u8]) -> [u8; 32] {
        hmac_sha256(&self.key.secret_pkcs8_der()[PKCS8_PREFIX.len()..], purpose)
    }

    fn parts(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (vec![self.certificate.clone()], PrivateKeyDer::Pkcs8(self.key.clone_key()))
    }

    /// TLS under QUIC for accepting connections of this protocol.
    ///
    /// # Errors
    /// If TLS refuses the certificate.
    pub fn server(&self, alpn: &[u8]) -> Result<Arc<quinn::crypto::rustls::QuicServerConfig>, TlsError> {
        Ok(Arc::new(self.accepting(alpn)?.try_into()?))
    }

    /// TLS under QUIC for opening connections of this protocol.
    ///
    /// # Errors
    /// If TLS refuses the certificate.
    pub fn client(&self, alpn: &[u8]) -> Result<Arc<quinn::crypto::rustls::QuicClientConfig>, TlsError> {
        Ok(Arc::new(self.opening(alpn)?.try_into()?))
    }

    /// TLS over TCP for accepting connections of this protocol. Sessions are not resumed: every connection proves its
    /// identity anew.
    ///
    /// # Errors
    /// If TLS refuses the certificate.
    pub fn tls_server(&self, alpn: &[u8]) -> Result<Arc<rustls::ServerConfig>, TlsError> {
        let mut config = self.accepting(alpn)?;
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// TLS over TCP for opening connections of this protocol. Sessions are not resumed, as in [`Self::tls_server`].
    ///
    /// # Errors
    /// If TLS refuses the certificate.
    pub fn tls_client(&self, alpn: &[u8]) -> Result<Arc<rustls::ClientConfig>, TlsError> {
        let mut config = self.opening(alpn)?;
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Arc::new(config))
    }

    fn accepting(&self, alpn: &[u8]) -> Result<rustls::ServerConfig, TlsError> {
        let provider = provider();
        let verifier = Arc::new(HandshakeOnly(provider.signature_verification_algorithms));
        let (chain, key) = self.parts();
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![alpn.to_vec()];
        config.max_early_data_size = 0;
        Ok(config)
    }

    fn opening(&self, alpn: &[u8]) -> Result<rustls::ClientConfig, TlsError> {
        let provider = provider();
        let verifier = Arc::new(HandshakeOnly(provider.signature_verification_algorithms));
        let (chain, key) = self.parts();
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(chain, key)?;
        config.alpn_protocols = vec![alpn.to_vec()];
        Ok(config)
    }
}

/// HMAC-SHA-256 (RFC 2104) under a key of at most 64 bytes.
#[must_use]
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let suite = rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let hkdf = suite.tls13().expect("a suite of TLS 1.3").hkdf_provider;
    let tag = hkdf.hmac_sign(&OkmBlock::new(key), message);
    tag.as_ref().try_into().expect("SHA-256 makes 32 bytes")
}

/// The ring provider, with Ed25519 as the only signature scheme.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    let all = provider.signature_verification_algorithms.mapping;
    let place = all.iter().position(|(scheme, _)| *scheme == SignatureScheme::ED25519).expect("ring knows Ed25519");
    let mapping = &all[place..=place];
    provider.signature_verification_algorithms = WebPkiSupportedAlgorithms { all: mapping[0].1, mapping };
    Arc::new(provider)
}

/// The identity behind a QUIC connection, from its certificate.
#[must_use]
pub fn peer_identity(connection: &quinn::Connection) -> Option<Pubkey> {
    let any = connection.peer_identity()?;
    let chain = any.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    identity_of(chain.first()?)
}

/// The identity behind a TLS connection over TCP that speaks this very protocol.
#[must_use]
pub fn tcp_identity(connection: &rustls::CommonState, alpn: &[u8]) -> Option<Pubkey> {
    // A peer that offers no protocol at all passes the handshake.
    connection.alpn_protocol().filter(|chosen| *chosen == alpn)?;
    identity_of(connection.peer_certificates()?.first()?)
}

/// The Ed25519 key of a certificate. A certificate in which such a key seems to stand twice is refused: one of
/// the places is a trap.
#[must_use]
pub fn identity_of(certificate: &[u8]) -> Option<Pubkey> {
    let mut places = certificate.windows(SPKI_PREFIX.len()).enumerate().filter(|(_, w)| *w == SPKI_PREFIX);
    let (place, _) = places.next()?;
    if places.next().is_some() {
        return None;
    }
    let start = place + SPKI_PREFIX.len();
    let key: [u8; 32] = certificate.get(start..start + 32)?.try_into().ok()?;
    Some(Pubkey::new_from_array(key))
}

/// Accepts any Ed25519 certificate whose holder signs the handshake.
#[derive(Debug)]
struct HandshakeOnly(WebPkiSupportedAlgorithms);

impl HandshakeOnly {
    fn check(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn refuse_tls12() -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3 is spoken here".into()))
    }

    fn has_key(certificate: &CertificateDer<'_>) -> Result<(), rustls::Error> {
        match identity_of(certificate) {
            Some(_) => Ok(()),
            None => Err(rustls::Error::General("the certificate has no Ed25519 key".into())),
        }
    }
}

impl ServerCertVerifier for HandshakeOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Self::has_key(end_entity).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::refuse_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.check(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl ClientCertVerifier for HandshakeOnly {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Self::has_key(end_entity).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::refuse_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.check(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use solana_signer::Signer as _;

    #[test]
    fn a_certificate_names_its_identity() {
        let identity = Keypair::new_from_array([3; 32]);
        let credentials = Credentials::new(&identity).expect("a certificate");
        assert_eq!(identity_of(&credentials.certificate), Some(identity.pubkey()));
    }

    #[test]
    fn a_certificate_with_two_keys_names_nobody() {
        let identity = Keypair::new_from_array([3; 32]);
        let credentials = Credentials::new(&identity).expect("a certificate");
        let mut twice = credentials.certificate.to_vec();
        twice.extend_from_slice(&SPKI_PREFIX);
        twice.extend_from_slice(&[9; 32]);
        assert_eq!(identity_of(&twice), None);
    }

    #[test]
    fn hmac_is_as_in_rfc_4231() {
        let tag = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(tag.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), expected);
    }

    #[test]
    fn a_cut_certificate_names_nobody() {
        assert_eq!(identity_of(&SPKI_PREFIX), None);
        assert_eq!(identity_of(b"no certificate"), None);
    }
}
