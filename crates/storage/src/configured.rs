//! A configuration judged whole: with the address of its server.

use milescale_core::config::{self, ClientEnvironment, Interpreted, Problem};
use milescale_document::document::Document;
use milescale_workspace::config_file::document;

use crate::postgres;

/// Reads a configuration that is to be taken into force: with an address of a server that can be read.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn read(text: &[u8], client: &ClientEnvironment) -> Result<Interpreted, Vec<Problem>> {
    let (found, problems) = judged(&document(text)?, client);
    if problems.is_empty() { Ok(found) } else { Err(problems) }
}

/// All that is wrong with a configuration, and its unknown keys. The address of a server is read too, with what the environment
/// says to its clients.
pub fn examine(text: &[u8], client: &ClientEnvironment) -> (Vec<Problem>, Vec<Problem>) {
    match document(text) {
        Ok(document) => {
            let (found, problems) = judged(&document, client);
            (problems, found.warnings)
        }
        Err(problems) => (problems, Vec::new()),
    }
}

/// What can be read of a document and all that is wrong with it. An address is read whatever the engine is: an old store may be
/// there.
fn judged(document: &Document<'_>, client: &ClientEnvironment) -> (Interpreted, Vec<Problem>) {
    let (found, mut problems) = config::examine(document);
    let url = &found.config.database.url;
    if !url.is_empty() {
        let flaw = postgres::flaw_of_address(url, client);
        problems.extend(flaw.map(|flaw| found.problem("storage.database.url", flaw)));
    }
    (found, problems)
}
