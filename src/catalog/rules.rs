//! The rules of a store: adopted by the first run that publishes, held against every later one.

use super::{Catalog, Rules, layout};
use crate::error::{Error, ErrorKind, Result};
use object_store::{ObjectStore, PutMode};

impl Catalog {
    /// The rules of this store; `None` before anything was published.
    ///
    /// # Errors
    /// `Data` if the file that holds them cannot be read, and what the store says.
    pub async fn rules(&self) -> Result<Option<Rules>> {
        Ok(self.read_json(&layout::rules_path(&self.root), "rules").await?.map(|(rules, _)| rules))
    }

    /// Makes `rules` those of the store if it has none yet, else holds them against those it has.
    ///
    /// # Errors
    /// `Conflict`, naming each rule that differs, if the store has others.
    pub async fn adopt_rules(&self, rules: &Rules) -> Result<()> {
        if let Some(adopted) = self.rules().await? {
            return self.compare(&adopted, rules);
        }
        let path = layout::rules_path(&self.root);
        let json = super::publish::to_json(rules)?;
        match self.store.put_opts(&path, json.into(), PutMode::Create.into()).await {
            Ok(_) => Ok(()),
            // Somebody else was first, or our own reply was lost: what is there now decides.
            Err(error) => match self.rules().await? {
                Some(adopted) => self.compare(&adopted, rules),
                None => Err(Error::from(error).context(format!("write rules {path} of {}", self.url))),
            },
        }
    }

    fn compare(&self, adopted: &Rules, asked: &Rules) -> Result<()> {
        let fields = |rules: &Rules| {
            [
                ("format version", rules.format_version.to_string()),
                ("port rule", rules.port_rule.name().to_owned()),
                ("addresses", rules.addresses.name().to_owned()),
                ("query checksum", rules.query_checksum.clone()),
            ]
        };
        let differences: Vec<String> = fields(adopted)
            .into_iter()
            .zip(fields(asked))
            .filter(|((_, was), (_, now))| was != now)
            .map(|((name, was), (_, now))| format!("{name} was {was}, asked for is {now}"))
            .collect();
        if differences.is_empty() {
            return Ok(());
        }
        let message = format!("the digests of {} are built by other rules: {}", self.url, differences.join("; "));
        let (ports, addresses) = (adopted.port_rule.name(), adopted.addresses.name());
        Err(Error::new(ErrorKind::Conflict, message).with_hint(format!(
            "use another --store, or the rules of this one (--port-rule {ports} --addresses {addresses}, and the \
             edges query that it was made with)"
        )))
    }
}
