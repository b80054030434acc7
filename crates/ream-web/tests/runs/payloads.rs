//! Texts that would run something if a page did not escape them.

/// What a payload does when it runs.
const ACT: &str = "window.pwned=1";

/// 150 and more of them, all different.
pub fn payloads() -> Vec<String> {
    let mut all = Vec::new();
    let tags = [
        "img src=x",
        "svg",
        "body",
        "input autofocus",
        "details open",
        "video src=x",
        "audio src=x",
        "iframe src=x",
        "object data=x",
        "a href=x",
        "div",
        "marquee",
        "select autofocus",
        "math",
        "style",
        "link rel=stylesheet href=x",
        "embed src=x",
        "form",
        "button",
        "textarea autofocus",
    ];
    let handlers = ["onerror", "onload", "onfocus", "ontoggle", "onpointerenter"];
    for (i, tag) in tags.iter().enumerate() {
        for handler in [handlers[i % 5], handlers[(i + 1) % 5], handlers[(i + 2) % 5]] {
            all.push(format!("<{tag} {handler}={ACT}>"));
        }
    }
    let breaks = [
        "\">",
        "'>",
        "</title>",
        "</style>",
        "</textarea>",
        "</pre>",
        "</script>",
        "-->",
        "]]>",
        "</svg>",
        "</noscript>",
        "\" ",
        "' ",
        "`",
        "*/",
        "</select>",
        "</desc>",
    ];
    for out in breaks {
        all.push(format!("{out}<script>{ACT}</script>"));
        all.push(format!("{out} onmouseover={ACT} x="));
    }
    let scripts = [
        "<script>@</script>",
        "<ScRiPt>@</sCrIpT>",
        "<script/x>@</script>",
        "<<script>@//<</script>",
        "<script\n>@</script\n>",
        "<script src=data:,@></script>",
        "<svg><script>@</script></svg>",
        "<svg><script href=data:,@ /></svg>",
        "<svg><animate onbegin=@ attributeName=x>",
        "<svg><set onbegin=@>",
        "<svg><foreignObject><img src=x onerror=@></foreignObject></svg>",
        "<svg><use href=\"data:image/svg+xml,<svg onload=@>\"/>",
        "<svg><a href=javascript:@><text>x</text></a>",
        "<math><mtext></mtext><img src=x onerror=@></math>",
        "<template><script>@</script></template>",
        "<noscript><p title=\"</noscript><img src=x onerror=@>\">",
        "<iframe srcdoc=\"<script>parent.@</script>\">",
        "<iframe src=javascript:@>",
        "<a href=javascript:@>x</a>",
        "<form action=javascript:@><button>x</button></form>",
        "<button formaction=javascript:@>x</button>",
        "<object data=javascript:@>",
        "<embed src=javascript:@>",
        "<base href=//evil.example/>",
        "<meta http-equiv=refresh content=0;url=javascript:@>",
        "<link rel=import href=data:text/html,<script>@</script>>",
        "<style>@import 'data:,@'</style>",
        "<p style=background:url(javascript:@)>",
        "<img src=x:x onerror=@ //",
        "<img/src=x/onerror=@>",
        "<img src=`x` onerror=@>",
        "<img src=x onerror\n=\n@>",
        "<img src=x ONERROR=@>",
        "<img src='x'onerror='@'>",
        "<img src=x onerror=@",
        "<x onclick=@>",
        "<x contenteditable onblur=@>x",
        "javascript:@",
        " javascript:@",
        "java\tscript:@",
        "JaVaScRiPt:@",
        "data:text/html,<script>@</script>",
        "vbscript:@",
        "javascript&colon;@",
        "&#106;avascript:@",
        "&lt;script&gt;@&lt;/script&gt;",
        "&#60;script&#62;@&#60;/script&#62;",
        "&amp;lt;script&amp;gt;@",
        "%3Cscript%3E@%3C/script%3E",
        "\\u003cscript\\u003e@",
        "\\x3cscript\\x3e@",
        "{{constructor.constructor('@')()}}",
        "${@}",
        "<%= @ %>",
        "#{@}",
        "{% raw %}<script>@</script>",
        "\u{ff1c}script\u{ff1e}@",
        "\u{202e}<script>@</script>",
        "<scr\u{200b}ipt>@</scr\u{200b}ipt>",
        "\";@;//",
        "';@;//",
        "`;@;//",
        "\\\";@;//",
        "</script><!--<script>@",
        "<!--><script>@</script>",
        "<![CDATA[<script>@</script>]]>",
        "<?xml-stylesheet href='javascript:@'?>",
        "<!ENTITY x '<script>@</script>'>",
    ];
    all.extend(scripts.iter().map(|script| script.replace('@', ACT)));
    all
}
