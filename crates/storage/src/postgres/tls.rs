//! TLS to a server: whom it has to be signed by, and what proves the client.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::folder::system;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::address::{Address, Host, Mode, Security};

/// The largest file of certificates that is read.
const LIMIT: u64 = 1 << 20;

/// What TLS needs to know for an address.
///
/// # Errors
/// When a file of certificates or a key cannot be used.
pub(super) fn config(address: &Address) -> Result<ClientConfig, StoreError> {
    // On sockets there is no TLS: files of certificates are not asked for.
    let unused = Security { mode: Mode::Disable, authority: None, certificate: None };
    let is_used = address.security.mode != Mode::Disable && address.hosts.iter().any(Host::is_on_a_network);
    let security = if is_used { &address.security } else { &unused };
    let provider = Arc::new(ring::default_provider());
    let refused = |cause: String| StoreError::new(Problem::Refused, "TLS", cause);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(error.to_string()))?;
    // As with libpq, an authority that is named is asked in every mode. Without one, `allow` and `prefer` promise nothing.
    let is_checked = security.authority.is_some() || security.mode >= Mode::Require;
    let verifier: Arc<dyn ServerCertVerifier> = if is_checked {
        let roots = Arc::new(roots(security.authority.as_deref())?);
        let strict = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
        let strict =
            strict.map_err(|error| refused(format!("no authority is known ({error}); name one: sslrootcert")))?;
        match security.mode {
            Mode::Require | Mode::VerifyFull => strict,
            // Of an authority of the system's, anybody has a certificate for some name.
            Mode::VerifyCa if security.authority.is_none() => strict,
            _ => Arc::new(Lenient { chain: Some(strict), provider }),
        }
    } else {
        Arc::new(Lenient { chain: None, provider })
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    match &security.certificate {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let refused = |error: Error| unusable(certificate, &format!("it does not go with its key: {error}"));
            builder.with_client_auth_cert(chain, private_key(key)?).map_err(refused)
        }
    }
}

fn unusable(path: &Path, cause: &str) -> StoreError {
    StoreError::new(Problem::Refused, path.display().to_string(), cause)
}

fn roots(authority: Option<&Path>) -> Result<RootCertStore, StoreError> {
    let mut roots = RootCertStore::empty();
    match authority {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| unusable(path, &error.to_string()))?;
            }
        }
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let read = system::read(path, LIMIT);
    let (pem, _) = read.map_err(|error| unusable(path, &format!("no certificates can be read: {error}")))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(unusable(path, "there is no certificate in it; expected PEM")),
        Err(error) => Err(unusable(path, &format!("no certificates can be read: {error}"))),
    }
}

/// The client's key. One that others may read is refused, as by libpq.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, StoreError> {
    let read = system::read(path, LIMIT);
    let (pem, metadata) = read.map_err(|error| unusable(path, &format!("the key cannot be read: {error}")))?;
    let others = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if metadata.permissions().mode() & others != 0 {
        return Err(unusable(path, "others may read this key; take their rights away: chmod 0600"));
    }
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
        unusable(path, &format!("there is no key in it that can be used ({error}); one with a password cannot"))
    })
}

/// A check of less than everything: of who signed the certificate, or of nothing but that the server has its key.
#[derive(Debug)]
struct Lenient {
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        // The name is looked at last.
        match chain.verify_server_cert(certificate, others, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
