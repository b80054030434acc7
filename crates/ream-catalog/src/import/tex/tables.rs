//! Commands of TeX that bibliographies use.

/// The combining mark of an accent.
pub(super) fn accent(command: char) -> Option<char> {
    Some(match command {
        '`' => '\u{300}',
        '\'' => '\u{301}',
        '^' => '\u{302}',
        '~' => '\u{303}',
        '=' => '\u{304}',
        'u' => '\u{306}',
        '.' => '\u{307}',
        '"' => '\u{308}',
        'r' => '\u{30a}',
        'H' => '\u{30b}',
        'v' => '\u{30c}',
        'd' => '\u{323}',
        'c' => '\u{327}',
        'k' => '\u{328}',
        'b' => '\u{331}',
        _ => return None,
    })
}

/// Letters and signs by name.
pub(super) fn sign(command: &str) -> Option<&'static str> {
    SIGNS.binary_search_by_key(&command, |(name, _)| name).ok().map(|at| SIGNS[at].1)
}

/// Commands that say how something looks: their name goes, their argument stays.
pub(super) fn dropped_command(command: &str) -> bool {
    matches!(
        command,
        "emph"
            | "textbf"
            | "textit"
            | "textsc"
            | "texttt"
            | "textrm"
            | "textsf"
            | "textsl"
            | "textup"
            | "textmd"
            | "text"
            | "mathrm"
            | "mathbf"
            | "mbox"
            | "hbox"
            | "url"
            | "path"
            | "em"
            | "bf"
            | "it"
            | "rm"
            | "sc"
            | "sf"
            | "sl"
            | "tt"
            | "bfseries"
            | "itshape"
            | "scshape"
            | "ttfamily"
            | "rmfamily"
            | "sffamily"
            | "normalfont"
            | "relax"
            | "protect"
            | "noopsort"
            | "uppercase"
            | "lowercase"
            | "textsuperscript"
            | "textsubscript"
            | "ensuremath"
            | "underline"
            | "enquote"
            | "nolinkurl"
            | "small"
            | "large"
            | "newblock"
    )
}

const SIGNS: [(&str, &str); 114] = [
    ("AA", "Å"),
    ("AE", "Æ"),
    ("BibTeX", "BibTeX"),
    ("DH", "Ð"),
    ("DJ", "Đ"),
    ("Delta", "Δ"),
    ("Gamma", "Γ"),
    ("IJ", "Ĳ"),
    ("L", "Ł"),
    ("LaTeX", "LaTeX"),
    ("Lambda", "Λ"),
    ("NG", "Ŋ"),
    ("O", "Ø"),
    ("OE", "Œ"),
    ("Omega", "Ω"),
    ("P", "¶"),
    ("Phi", "Φ"),
    ("Pi", "Π"),
    ("Psi", "Ψ"),
    ("S", "§"),
    ("SS", "ẞ"),
    ("Sigma", "Σ"),
    ("TH", "Þ"),
    ("TeX", "TeX"),
    ("Theta", "Θ"),
    ("Xi", "Ξ"),
    ("aa", "å"),
    ("ae", "æ"),
    ("alpha", "α"),
    ("approx", "≈"),
    ("beta", "β"),
    ("cdot", "·"),
    ("chi", "χ"),
    ("copyright", "©"),
    ("dag", "†"),
    ("ddag", "‡"),
    ("delta", "δ"),
    ("dh", "ð"),
    ("dj", "đ"),
    ("dots", "…"),
    ("ell", "ℓ"),
    ("epsilon", "ε"),
    ("eta", "η"),
    ("euro", "€"),
    ("gamma", "γ"),
    ("geq", "≥"),
    ("guillemotleft", "«"),
    ("guillemotright", "»"),
    ("i", "ı"),
    ("ij", "ĳ"),
    ("infty", "∞"),
    ("iota", "ι"),
    ("j", "ȷ"),
    ("kappa", "κ"),
    ("l", "ł"),
    ("lambda", "λ"),
    ("ldots", "…"),
    ("leq", "≤"),
    ("mu", "μ"),
    ("ng", "ŋ"),
    ("nu", "ν"),
    ("o", "ø"),
    ("oe", "œ"),
    ("omega", "ω"),
    ("phi", "φ"),
    ("pi", "π"),
    ("pm", "±"),
    ("pounds", "£"),
    ("psi", "ψ"),
    ("quad", " "),
    ("quotedblbase", "„"),
    ("rho", "ρ"),
    ("rightarrow", "→"),
    ("sigma", "σ"),
    ("sim", "∼"),
    ("slash", "/"),
    ("space", " "),
    ("ss", "ß"),
    ("star", "⋆"),
    ("tau", "τ"),
    ("textasciicircum", "^"),
    ("textasciigrave", "`"),
    ("textasciitilde", "~"),
    ("textasteriskcentered", "*"),
    ("textbackslash", "\\"),
    ("textbar", "|"),
    ("textbraceleft", "{"),
    ("textbraceright", "}"),
    ("textbullet", "•"),
    ("textcopyright", "©"),
    ("textdegree", "°"),
    ("textdollar", "$"),
    ("textellipsis", "…"),
    ("textemdash", "—"),
    ("textendash", "–"),
    ("texteuro", "€"),
    ("textgreater", ">"),
    ("textless", "<"),
    ("textmu", "µ"),
    ("textquotedbl", "\""),
    ("textquotedblleft", "“"),
    ("textquotedblright", "”"),
    ("textquoteleft", "‘"),
    ("textquoteright", "’"),
    ("textquotesingle", "'"),
    ("textregistered", "®"),
    ("texttrademark", "™"),
    ("textunderscore", "_"),
    ("th", "þ"),
    ("theta", "θ"),
    ("times", "×"),
    ("to", "→"),
    ("xi", "ξ"),
    ("zeta", "ζ"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_sorted() {
        assert!(SIGNS.is_sorted_by_key(|(name, _)| name));
    }
}
