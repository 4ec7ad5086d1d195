//! XMP: the two values in it that matter, out of its XML.
//!
//! Not an XML parser: no entities are defined, nothing is nested, everything is linear in the text's length.

use super::Texts;

/// Reads an XMP packet.
pub(super) fn read(packet: &str, texts: &mut Texts) {
    for (name, keyword) in [("xmp:CreatorTool", Texts::CREATOR), ("exif:UserComment", Texts::USER_COMMENT)] {
        if let Some(text) = element(packet, name).or_else(|| attribute(packet, name)) {
            texts.add(keyword, text);
        }
    }
}

/// The text of the first element of this name, tags within it (`rdf:Alt`, `rdf:li`) taken off.
fn element(packet: &str, name: &str) -> Option<String> {
    let open = format!("<{name}");
    let (_, rest) = packet.split_once(open.as_str())?;
    let (_, rest) = rest.split_once('>').filter(|(tag, _)| !tag.ends_with('/'))?;
    let (content, _) = rest.split_once(format!("</{name}>").as_str())?;
    let mut text = String::with_capacity(content.len());
    let mut outside = true;
    for c in content.chars() {
        match c {
            '<' => outside = false,
            '>' if !outside => outside = true,
            c if outside => text.push(c),
            _ => {}
        }
    }
    Some(unescape(text.trim()))
}

/// The value of the first attribute of this name.
fn attribute(packet: &str, name: &str) -> Option<String> {
    let (_, rest) = packet.split_once(format!("{name}=").as_str())?;
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (value, _) = rest[1..].split_once(quote)?;
    Some(unescape(value))
}

/// XML's five named characters and numbered ones.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let end = after.bytes().take(10).position(|byte| byte == b';');
        let found = end.and_then(|end| Some((character(&after[..end])?, &after[end + 1..])));
        let (c, after) = found.unwrap_or(('&', after));
        plain.push(c);
        rest = after;
    }
    plain.push_str(rest);
    plain
}

fn character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            code.ok().and_then(char::from_u32)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_out_of_elements_lists_and_attributes() {
        let mut texts = Texts::default();
        read(
            "<rdf:Description xmp:CreatorTool='Draw Things'><exif:UserComment><rdf:Alt>\n<rdf:li xml:lang='x-default'>\
             {&quot;c&quot;:&quot;a &#60;b&#x3e; &amp;lt; &nope; &quot;}</rdf:li></rdf:Alt></exif:UserComment>",
            &mut texts,
        );
        assert_eq!(texts.get(Texts::CREATOR), Some("Draw Things"));
        assert_eq!(texts.get(Texts::USER_COMMENT), Some(r#"{"c":"a <b> &lt; &nope; "}"#));
    }
}
