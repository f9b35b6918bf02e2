//! A look at what a registration proves itself with: whether it can be read, and when it ends.

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::{Provider, SecretSource, ServiceAccount};

impl Provider {
    /// Reads everything that proves the application, and says in a few words what there is. It blocks, for a command up to ten seconds.
    ///
    /// # Errors
    /// In words, if something cannot be read or used; no secret is in them.
    pub fn look_at_credentials(&self) -> Result<String, String> {
        let mut words = Vec::new();
        if let Some(source) = &self.client_secret {
            source.read().map_err(|error| error.to_string())?;
            words.push("client secret readable".to_owned());
        }
        if let Some(certificate) = &self.certificate {
            let pair = certificate.load().map_err(|error| error.to_string())?;
            let end = pair.not_after.to_zoned(TimeZone::UTC).date();
            words.push(format!("certificate good until {end}"));
        }
        if let Some(source) = &self.assertion {
            let read = source.read_of_platform();
            read.map_err(|error| format!("the assertion: {error}"))?;
            words.push("assertion readable".to_owned());
        }
        if let Some(source) = &self.service_account {
            let account = ServiceAccount::load(source).map_err(|error| error.to_string())?;
            words.push(format!("service account {}", account.address));
        }
        Ok(match words.is_empty() {
            true => "no client secret".to_owned(),
            false => words.join(", "),
        })
    }

    /// Whether all of it lies in files, which can be read by whoever checks the configuration.
    pub(super) fn has_only_files(&self) -> bool {
        let key = self
            .certificate
            .as_ref()
            .map(|certificate| &certificate.key);
        let sources = [
            self.client_secret.as_ref(),
            key,
            self.assertion.as_ref(),
            self.service_account.as_ref(),
        ];
        let is_here = |source: &&SecretSource| {
            matches!(source, SecretSource::File(_) | SecretSource::Inline(_))
        };
        sources.iter().flatten().all(is_here)
    }

    /// The last day of the certificate, if there is one that can be read.
    pub fn certificate_ends(&self) -> Option<Date> {
        let end = self.certificate.as_ref()?.not_after().ok()?;
        Some(end.to_zoned(TimeZone::UTC).date())
    }
}
