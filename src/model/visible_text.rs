//! Text of which nothing is hidden: two names that look alike to a person are not two names, and
//! none changes the order of the text around it.
//!
//! Which characters are invisible is Unicode's decision (`Default_Ignorable_Code_Point`,
//! `Bidi_Control`). Some of them have their place in emoji and in the writing of Persian or
//! Sinhala, and are accepted there.

use icu_properties::CodePointMapData;
use icu_properties::props::{
    BidiControl, BinaryProperty, CanonicalCombiningClass, DefaultIgnorableCodePoint, Emoji,
    EmojiModifier, ExtendedPictographic, JoiningType,
};

const ZERO_WIDTH_NON_JOINER: char = '\u{200C}';
const ZERO_WIDTH_JOINER: char = '\u{200D}';
/// Text style, emoji style.
const STYLE_SELECTORS: [char; 2] = ['\u{FE0E}', '\u{FE0F}'];

/// What hides something in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HiddenText {
    /// White space at an end.
    WhiteSpaceAtAnEnd,
    /// A control character, or one that ends a line.
    Control(char),
    /// A character that changes the direction of the text (UAX #9).
    Bidirectional(char),
    /// A character that nobody sees.
    Invisible(char),
}

impl std::fmt::Display for HiddenText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, character) = match self {
            Self::WhiteSpaceAtAnEnd => {
                return f.write_str("Must not start or end with white space");
            }
            Self::Control(character) => ("control", character),
            Self::Bidirectional(character) => ("bidirectional", character),
            Self::Invisible(character) => ("invisible", character),
        };
        let number = u32::from(*character);
        write!(f, "Must not contain the {kind} character U+{number:04X}")
    }
}

/// Whether everything of `text` can be seen.
///
/// # Errors
///
/// The first thing that cannot.
pub fn check(text: &str) -> Result<(), HiddenText> {
    for (start, character) in text.char_indices() {
        let (before, from) = text.split_at(start);
        let after = &from[character.len_utf8()..];
        if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') {
            return Err(HiddenText::Control(character));
        }
        if BidiControl::for_char(character) {
            return Err(HiddenText::Bidirectional(character));
        }
        if is_invisible(character) && !has_its_place(character, before, after) {
            return Err(HiddenText::Invisible(character));
        }
    }
    if [text.chars().next(), text.chars().next_back()]
        .into_iter()
        .flatten()
        .any(is_blank)
    {
        return Err(HiddenText::WhiteSpaceAtAnEnd);
    }
    Ok(())
}

/// White space, and the one other character that looks like it: Braille's blank.
fn is_blank(character: char) -> bool {
    character.is_whitespace() || character == '\u{2800}'
}

/// Ignorable by default, or a mark of interlinear annotation, which is invisible in plain text.
fn is_invisible(character: char) -> bool {
    DefaultIgnorableCodePoint::for_char(character) || matches!(character, '\u{FFF9}'..='\u{FFFB}')
}

/// Whether an invisible character makes a difference that can be seen, between what is before it
/// and what is after it.
fn has_its_place(character: char, before: &str, after: &str) -> bool {
    let Some(previous) = before.chars().next_back() else {
        return false;
    };
    match character {
        // UTS #51 §1.4.3. Digits are emoji too, and look the same with it.
        style if STYLE_SELECTORS.contains(&style) => {
            !previous.is_ascii() && Emoji::for_char(previous)
        }
        ZERO_WIDTH_JOINER => {
            is_virama(previous) || (ends_emoji(previous) && starts_with_emoji(after))
        }
        ZERO_WIDTH_NON_JOINER => is_virama(previous) || would_join(before, after),
        _ => false,
    }
}

/// UTS #51 §1.4.6: what `U+200D` can join to another emoji.
fn ends_emoji(character: char) -> bool {
    STYLE_SELECTORS.contains(&character)
        || ExtendedPictographic::for_char(character)
        || EmojiModifier::for_char(character)
}

fn starts_with_emoji(text: &str) -> bool {
    text.chars()
        .next()
        .is_some_and(ExtendedPictographic::for_char)
}

/// RFC 5892 appendices A.1, A.2: after these the joiners choose the form of a conjunct.
fn is_virama(character: char) -> bool {
    let classes = CodePointMapData::<CanonicalCombiningClass>::new();
    classes.get(character) == CanonicalCombiningClass::Virama
}

/// RFC 5892 appendix A.1: whether the letters on both sides would be joined.
fn would_join(before: &str, after: &str) -> bool {
    let types = CodePointMapData::<JoiningType>::new();
    let joining = |character| types.get(character);
    let letter = |joining: &JoiningType| *joining != JoiningType::Transparent;
    let left = before.chars().rev().map(joining).find(letter);
    let right = after.chars().map(joining).find(letter);
    matches!(
        left,
        Some(JoiningType::LeftJoining | JoiningType::DualJoining)
    ) && matches!(
        right,
        Some(JoiningType::RightJoining | JoiningType::DualJoining)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_languages_and_emoji_can_be_seen() {
        for name in [
            "Kadosei Shop",
            "Ünïcödé & Söhne №1",
            "東京\u{3000}商店",
            "متجر",
            "חנות",
            // Persian, with a non-joiner; Sinhala and Hindi, with a joiner after a virama.
            "می\u{200C}خواهم",
            "ශ\u{0DCA}\u{200D}රී ලංකා",
            "क\u{094D}\u{200D}ष",
            "Shop ❤\u{FE0F}",
            "👩\u{200D}💻",
            "👨🏽\u{200D}🚒",
            "🏳\u{FE0F}\u{200D}🌈",
        ] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_seen_is_named() {
        use HiddenText::{Bidirectional, Control, Invisible, WhiteSpaceAtAnEnd};

        for (name, hidden) in [
            ("", None),
            (" a", Some(WhiteSpaceAtAnEnd)),
            ("a\u{A0}", Some(WhiteSpaceAtAnEnd)),
            ("a\u{3000}", Some(WhiteSpaceAtAnEnd)),
            ("\u{2800}", Some(WhiteSpaceAtAnEnd)),
            ("a\tb", Some(Control('\t'))),
            ("a\u{85}b", Some(Control('\u{85}'))),
            ("a\u{2028}b", Some(Control('\u{2028}'))),
            ("a\u{202E}b", Some(Bidirectional('\u{202E}'))),
            ("a\u{2066}b", Some(Bidirectional('\u{2066}'))),
            ("a\u{200F}", Some(Bidirectional('\u{200F}'))),
            ("a\u{061C}b", Some(Bidirectional('\u{061C}'))),
            ("a\u{200B}b", Some(Invisible('\u{200B}'))),
            ("\u{3164}", Some(Invisible('\u{3164}'))),
            ("a\u{AD}b", Some(Invisible('\u{AD}'))),
            ("a\u{FEFF}", Some(Invisible('\u{FEFF}'))),
            ("a\u{2060}b", Some(Invisible('\u{2060}'))),
            ("a\u{FFF9}b", Some(Invisible('\u{FFF9}'))),
            ("a\u{E0041}b", Some(Invisible('\u{E0041}'))),
            // The joiners and selectors, where they have no place.
            ("\u{200D}a", Some(Invisible('\u{200D}'))),
            ("a\u{200D}b", Some(Invisible('\u{200D}'))),
            ("a\u{200C}b", Some(Invisible('\u{200C}'))),
            ("東\u{200D}京", Some(Invisible('\u{200D}'))),
            ("💻\u{200D}", Some(Invisible('\u{200D}'))),
            ("1\u{FE0F}", Some(Invisible('\u{FE0F}'))),
            ("a\u{FE0E}", Some(Invisible('\u{FE0E}'))),
        ] {
            assert_eq!(check(name).err(), hidden, "{name:?}");
        }
        assert_eq!(
            Invisible('\u{200B}').to_string(),
            "Must not contain the invisible character U+200B"
        );
    }
}
