"""Text that somebody might give a name, a note or a file's comment to make trouble."""

from __future__ import annotations

CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))]
BIDI = list("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
UNSEEN = [
    "\u00ad", "\u034f", "\u115f", "\u1160", "\u17b4", "\u180e", "\u200b", "\u200c", "\u200d", "\u2060", "\u2061",
    "\u2064", "\u206a", "\u206f", "\u2800", "\u3164", "\ufe00", "\ufe0f", "\ufeff", "\uffa0", "\ufff9", "\ufffb",
    "\U000e0001", "\U000e0041", "\U000e007f", "\U000e0100", "\U000e01ef", "\U0001d173",
]  # fmt: skip
ODD = [
    "\u2028",
    "\u2029",
    "\u00a0",
    "\u2003",
    "\u3000",
    "\ud800",
    "\udfff",
    "\udc80",
    "\ue000",
    "\U0010fffd",
    "\ufffe",
    "\u0378",
]

SEQUENCES = [
    "\x1b[2J", "\x1b[H", "\x1b[31m", "\x1b[0;30;40m", "\x1b[8m", "\x1b[6n", "\x1b[c", "\x1b[>c", "\x1b[=c", "\x1b[5n",
    "\x1b[?1049h", "\x1b[?1049l", "\x1b[?25l", "\x1b[?1000h", "\x1b[?1006h", "\x1b[?2004h", "\x1b[?7l", "\x1b[?5h",
    "\x1b[3J", "\x1b[1;1H", "\x1b[999D", "\x1b[10A", "\x1b[1K", "\x1b[2K", "\x1b[5L", "\x1b[5M", "\x1b[5P", "\x1b[5X",
    "\x1b[1;5r", "\x1b[4h", "\x1b[20h", "\x1b[!p", "\x1b[s", "\x1b[u", "\x1b[21t", "\x1b[14t", "\x1b[8;1;1t",
    "\x1b[2;2'z", "\x1b[i", "\x1b[5i", "\x1b[?15n", "\x1b[0q", "\x1b[ q", "\x1b[11m", "\x1b[1000b",
    "\x1bc", "\x1bD", "\x1bE", "\x1bM", "\x1bH", "\x1bZ", "\x1b7", "\x1b8", "\x1b=", "\x1b>", "\x1b#8", "\x1b(0",
    "\x1b)0", "\x1bN", "\x1bO", "\x1b~", "\x1bn", "\x1bo", "\x1b|", "\x1b}", "\x1bV", "\x1bW", "\x1b", "\x1b\x1b[31m",
    "\x1b]0;title\x07", "\x1b]2;title\x1b\\", "\x1b]4;1;?\x07", "\x1b]8;;http://192.0.2.1/\x07x\x1b]8;;\x07",
    "\x1b]9;note\x07", "\x1b]10;?\x07", "\x1b]11;#000000\x07", "\x1b]50;?\x07", "\x1b]52;c;cm0gLXJmIC8=\x07",
    "\x1b]52;c;?\x1b\\", "\x1b]104\x07", "\x1b]112\x07", "\x1b]133;A\x07", "\x1b]777;notify;a;b\x07",
    "\x1b]1337;File=inline=1:AAAA\x07", "\x1b]1337;SetUserVar=a=YQ==\x07", "\x1b]7;file://host/etc\x07",
    "\x1bP$q\"p\x1b\\", "\x1bP+q544e\x1b\\", "\x1bPq#0;2;0;0;0#0~~\x1b\\", "\x1bP1;1|17/17\x1b\\",
    "\x1b_Gf=24,s=1,v=1;AAAA\x1b\\", "\x1b^secret\x1b\\", "\x1bXstring\x1b\\", "\x1bk title\x1b\\",
    "\x1bPtmux;\x1b\x1b[c\x1b\\",
    "\x9b2J", "\x9b6n", "\x9d52;c;?\x9c", "\x9d0;t\x9c", "\x90$q\"p\x9c", "\x9ex\x9c", "\x9fGa=q\x9c", "\x98x\x9c",
    "\x84", "\x85", "\x8d", "\x8e", "\x9a", "a\rb", "a\x08\x08b", "a\nb", "a\r\nb", "\x07", "\x0e", "\x0f", "\x05",
    "\x00", "\t", "\x0b", "\x0c", "x\x7fy", "\x18\x1a",
]  # fmt: skip

DIRECTIVES = [
    "alice\nPostUp = id > /tmp/owned", "alice\r\nPostUp = id", "alice\rPostUp = id", "alice\u2028PostUp = id",
    "alice\u2029PostUp = id", "alice\x85PostUp = id", "alice\x0bPostUp = id", "alice\x0cPostUp = id",
    "alice\x1cPostUp = id", "alice\x00\nPostUp = id", "[Peer]\nPublicKey = x", "a\n[Peer]",
    "a\n[Interface]\nPreUp = id",
    "a\n#\nPostDown = id", "a\\\nPostUp = id", "\nSaveConfig = true", "\n\n[Peer]\nAllowedIPs = 0.0.0.0/0",
    "[Peer]", "x [ interface ] y", "PostUp", "postup=id", "a PreDown = id",
]  # fmt: skip

REFUSED_NAMES = [
    *(f"a{char}b" for char in CONTROLS + BIDI + ODD),
    *(f"a{char}b" for char in UNSEEN if char != "\ufe0f"),  # a keyboard's mark for emoji: dropped, not refused
    *SEQUENCES,
    *DIRECTIVES,
    "", " ", " alice", "alice ", "a" * 129, "\u0301alice", "a" + "\u0301" * 40 + "b",
    "Z" + "\u0335\u0336\u0337\u0338\u0347" * 9,
]  # fmt: skip
"""No field for a name takes any of these."""

ODD_BUT_FINE = [
    "alice-laptop", "Bob's phone", "a", "x" * 64, "müller", "Ångström", "Владимир", "محمد", "דוד", "山田太郎", "김철수",
    "नमस्ते", "ไทย", "Việt Nam", "📱 phone", "👍🏽", "🇩🇪", "[/bold]", "[red]x[/red]", "# Name = x",
    "../../etc/passwd", "a/b", "C:\\con", "con", "nul.txt", ".", "..", ".hidden", "-rf", "--help",
    "%i", "$(id)", "`id`",
    "a;id", "a|b", "a&b", "<b>x</b>", "'; DROP TABLE peers; --", "\"", "'", "{0}", "{{7*7}}",
    "%s%n", "0", "null", "None",
    "all", "lo", "a  b", "é", "ﬁle", "Ⅷ", "\uff11\uff12",
]  # fmt: skip
"""Strange, and allowed: what shows as what it is."""

PAYLOADS = [
    *SEQUENCES,
    *(f"a{char}b" for char in CONTROLS + BIDI + UNSEEN + ODD),
    *(line for line in DIRECTIVES if not line.isprintable()),
    *(f"\x1b]0;{char}\x07" for char in BIDI),
]
"""Over 200 that would make a terminal do something, or show something else than there is."""
