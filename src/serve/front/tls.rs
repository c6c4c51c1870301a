//! TLS from files, taken up anew when they change. In: a certificate chain and its key, PEM. Out: rustls's settings.

use super::stamp::Stamp;
use crate::error::{Context, Error, Result};
use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Protocols offered, best first. Source: RFC 7301.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The certificate of a service.
#[derive(Debug)]
pub(super) struct Tls {
    files: [PathBuf; 2],
    config: RustlsConfig,
    stamp: Mutex<Stamp>,
}

impl Tls {
    /// Reads the certificate chain and the key.
    ///
    /// # Errors
    /// `Invalid` naming the file that is no PEM, or saying that the two do not belong together; and what the file system
    /// says of them.
    pub(super) fn open(cert: &Path, key: &Path) -> Result<Tls> {
        let files = [cert.to_owned(), key.to_owned()];
        let stamp = Mutex::new(Stamp::of(&files));
        let config = RustlsConfig::from_config(Arc::new(load(cert, key)?));
        Ok(Tls { files, config, stamp })
    }

    /// What the listener uses; it follows every reload.
    pub(super) fn config(&self) -> RustlsConfig {
        self.config.clone()
    }

    /// Reads the files again if they changed, or `always`; connections that are open keep what they have. Files that do
    /// not fit together, because only one of them is written yet, leave things as they were until the other is.
    ///
    /// # Errors
    /// As [`Tls::open`].
    pub(super) fn reload(&self, always: bool) -> Result<()> {
        let stamp = Stamp::of(&self.files);
        let mut last = self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        if !always && *last == stamp {
            return Ok(());
        }
        // Files that are broken are told of once, not at every look.
        *last = stamp;
        self.config.reload_from_config(Arc::new(load(&self.files[0], &self.files[1])?));
        tracing::info!(certificate = %self.files[0].display(), "the certificate was read again");
        Ok(())
    }
}

fn load(cert: &Path, key: &Path) -> Result<ServerConfig> {
    let read = |file: &Path| std::fs::read(file).context(|| format!("read {}", file.display()));
    let broken = |file: &Path, what: &str| {
        Error::invalid(format!("{} holds no {what}", file.display()))
            .with_hint("serve.tls_cert and serve.tls_key are PEM")
    };
    let chain = CertificateDer::pem_slice_iter(&read(cert)?).collect::<Result<Vec<_>, _>>();
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| broken(cert, "certificate"))?;
    let secret = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| broken(key, "private key"))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(|error| {
            let files = format!("{} and {}", cert.display(), key.display());
            Error::invalid(format!("{files} are no certificate and its key: {error}"))
        })?;
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_half_written_pair_is_told_once_and_taken_up_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let (one, two) = (pair(), pair());
        std::fs::write(&cert, &one.0).unwrap();
        std::fs::write(&key, &one.1).unwrap();
        let tls = Tls::open(&cert, &key).unwrap();
        let before = tls.config().get_inner();
        tls.reload(false).unwrap();
        assert!(Arc::ptr_eq(&before, &tls.config().get_inner()), "nothing changed");
        std::fs::write(&cert, &two.0).unwrap();
        assert!(tls.reload(false).is_err());
        tls.reload(false).unwrap();
        assert!(Arc::ptr_eq(&before, &tls.config().get_inner()), "the old pair stays");
        std::fs::write(&key, &two.1).unwrap();
        tls.reload(false).unwrap();
        assert!(!Arc::ptr_eq(&before, &tls.config().get_inner()));
    }

    #[test]
    fn what_is_no_certificate_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        assert!(Tls::open(&cert, &key).unwrap_err().to_string().contains("cert.pem"));
        std::fs::write(&cert, "nonsense").unwrap();
        assert!(Tls::open(&cert, &key).unwrap_err().to_string().contains("holds no certificate"));
        std::fs::write(&cert, pair().0).unwrap();
        std::fs::write(&key, "nonsense").unwrap();
        assert!(Tls::open(&cert, &key).unwrap_err().to_string().contains("holds no private key"));
    }
}
