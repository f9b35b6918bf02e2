//! A configuration that has more in it than before: tables behind those that are there.

use zeroize::Zeroizing;

use crate::config::edit::EditError;

/// The text with `tables` at its end. What is there stays as it is, octet by octet, and means what it meant.
///
/// # Errors
/// If the text is no TOML, or one of its parts is written so that nothing can be put behind it (`listener = [ … ]`).
pub fn append(text: &str, tables: &str) -> Result<String, EditError> {
    let parse = |text: &str| text.parse::<toml::Table>().map_err(|_| EditError::Syntax);
    let mut expected = parse(text)?;
    for (key, value) in parse(tables).map_err(|_| EditError::Entangled)? {
        merge(&mut expected, key, value)?;
    }
    let before = match text {
        "" => "",
        text if text.ends_with('\n') => "\n",
        _ => "\n\n",
    };
    // There may be a secret in the tables.
    let mut tables = Zeroizing::new(format!("{before}{}", tables.trim_start_matches('\n')));
    if text.contains("\r\n") {
        tables = Zeroizing::new(tables.replace('\n', "\r\n"));
    }
    let edited = Zeroizing::new(format!("{text}{}", *tables));
    match edited.parse::<toml::Table>() {
        Ok(meaning) if meaning == expected => Ok(edited.to_string()),
        _ => Err(EditError::Entangled),
    }
}

/// Tables get further keys and lists further items; nothing else is there twice.
fn merge(into: &mut toml::Table, key: String, value: toml::Value) -> Result<(), EditError> {
    match (into.get_mut(&key), value) {
        (None, value) => {
            into.insert(key, value);
        }
        (Some(toml::Value::Array(known)), toml::Value::Array(more)) => known.extend(more),
        (Some(toml::Value::Table(known)), toml::Value::Table(more)) => {
            for (key, value) in more {
                if known.contains_key(&key) {
                    return Err(EditError::Entangled);
                }
                known.insert(key, value);
            }
        }
        _ => return Err(EditError::Entangled),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MORE: &str =
        "\n# new\n[provider.b]\nclient-id = 'x'\n\n[[listener]]\nprotocol = 'imap'\n";

    #[test]
    fn what_is_there_stays_as_it_is() {
        for text in [
            "",
            "# mine\nstate-dir   = 'x'",
            "[provider.a]\nclient-id='y' # odd\n[[listener]]\nprotocol='smtp'\n",
        ] {
            let edited = append(text, MORE).unwrap();
            assert!(edited.starts_with(text), "{edited}");
            assert!(edited.ends_with(MORE.trim_start()), "{edited}");
        }
        let edited = append("[log]\r\nlevel='info'\r\n", MORE).unwrap();
        assert!(!edited.replace("\r\n", "").contains('\n'), "{edited}");
    }

    #[test]
    fn what_nothing_can_be_put_behind_is_left_alone() {
        for text in [
            "listener = []\n",
            "provider = { a = {} }\n",
            "[provider.b]\nclient-id = 'y'\n",
        ] {
            assert!(
                matches!(append(text, MORE), Err(EditError::Entangled)),
                "{text}"
            );
        }
        assert!(matches!(append("x =", MORE), Err(EditError::Syntax)));
    }
}
