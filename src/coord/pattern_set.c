/*
 * Sets of ASCII, and the names that RE2/J 1.8 has for some of them: Perl's \d \s \w, POSIX classes,
 * Unicode's general categories and scripts.
 */
#include "coord/pattern_set.h"

#include "base/base.h"

enum {
    RUNE_LONG_S = 0x17f, /* folds to s */
    RUNE_KELVIN = 0x212a,
    RUNE_BAD = 0xfffd,
};

static void set_add(struct pattern_set *s, uint32_t c)
{
    s->bits[c / 64] |= UINT64_C(1) << (c % 64);
}

void pattern_set_negate(struct pattern_set *s)
{
    s->bits[0] = ~s->bits[0];
    s->bits[1] = ~s->bits[1];
}

void pattern_set_join(struct pattern_set *s, const struct pattern_set *other)
{
    s->bits[0] |= other->bits[0];
    s->bits[1] |= other->bits[1];
}

/* Every letter in it in both cases. */
void pattern_set_fold(struct pattern_set *s)
{
    for (uint32_t c = 'A'; c <= 'Z'; c++) {
        if (pattern_set_has(s, c) || pattern_set_has(s, c + 32)) {
            set_add(s, c);
            set_add(s, c + 32);
        }
    }
}

void pattern_set_add_range(struct pattern_set *s, uint32_t low, uint32_t high, bool is_folded)
{
    struct pattern_set range = {{0, 0}};
    for (uint32_t c = low; c <= high && c < 128; c++) {
        set_add(&range, c);
    }
    if (is_folded) {
        if (low <= RUNE_LONG_S && high >= RUNE_LONG_S) {
            set_add(&range, 's');
        }
        if (low <= RUNE_KELVIN && high >= RUNE_KELVIN) {
            set_add(&range, 'k');
        }
        pattern_set_fold(&range);
    }
    pattern_set_join(s, &range);
}

static void set_add_text(struct pattern_set *s, const char *members)
{
    for (const char *c = members; *c != '\0'; c++) {
        set_add(s, (uint8_t)*c);
    }
}

struct named_set {
    const char *name;
    const char *members; /* bytes 0 to 127; NULL: by `range` */
    const char *range;   /* pairs of first and last */
};

/* \d and kin, and [:name:]. */
static const struct named_set groups[] = {
    {"\\d", NULL, "09"},
    {"\\s", "\t\n\f\r ", NULL},
    {"\\w", "_", "09AZaz"},
    {"[:alnum:]", NULL, "09AZaz"},
    {"[:alpha:]", NULL, "AZaz"},
    {"[:ascii:]", NULL, "\001\177"},
    {"[:blank:]", "\t ", NULL},
    {"[:cntrl:]", "\177", "\001\037"},
    {"[:digit:]", NULL, "09"},
    {"[:graph:]", NULL, "!~"},
    {"[:lower:]", NULL, "az"},
    {"[:print:]", NULL, " ~"},
    {"[:punct:]", NULL, "!/:@[`{~"},
    {"[:space:]", " ", "\t\r"},
    {"[:upper:]", NULL, "AZ"},
    {"[:word:]", "_", "09AZaz"},
    {"[:xdigit:]", NULL, "09AFaf"},
};

/* The general categories and scripts that RE2/J 1.8 knows, with their part of ASCII. */
static const struct named_set unicode_tables[] = {
    {"Any", NULL, "\001\177"},
    {"C", "\177", "\001\037"},
    {"Cc", "\177", "\001\037"},
    {"Common", NULL, "\001@[`{\177"},
    {"L", NULL, "AZaz"},
    {"Latin", NULL, "AZaz"},
    {"Ll", NULL, "az"},
    {"Lu", NULL, "AZ"},
    {"N", NULL, "09"},
    {"Nd", NULL, "09"},
    {"P", "!\"#%&'()*,-./:;?@[\\]_{}", NULL},
    {"Pc", "_", NULL},
    {"Pd", "-", NULL},
    {"Pe", ")]}", NULL},
    {"Po", "!\"#%&'*,./:;?@\\", NULL},
    {"Ps", "([{", NULL},
    {"S", "$+<=>^`|~", NULL},
    {"Sc", "$", NULL},
    {"Sk", "^`", NULL},
    {"Sm", "+<=>|~", NULL},
    {"Z", " ", NULL},
    {"Zs", " ", NULL},
};

/* Those that have no part in ASCII. */
static const char unicode_foreign[] =
    "Arabic Armenian Avestan Balinese Bamum Batak Bengali Bopomofo Brahmi Braille "
    "Buginese Buhid Canadian_Aboriginal Carian Cf Cham Cherokee Co Coptic Cs Cuneiform "
    "Cypriot Cyrillic Deseret Devanagari Egyptian_Hieroglyphs Ethiopic Georgian "
    "Glagolitic Gothic Greek Gujarati Gurmukhi Han Hangul Hanunoo Hebrew Hiragana "
    "Imperial_Aramaic Inherited Inscriptional_Pahlavi Inscriptional_Parthian Javanese "
    "Kaithi Kannada Katakana Kayah_Li Kharoshthi Khmer Lao Lepcha Limbu Linear_B Lisu Lm "
    "Lo Lt Lycian Lydian M Malayalam Mandaic Mc Me Meetei_Mayek Mn Mongolian Myanmar "
    "New_Tai_Lue Nko Nl No Ogham Ol_Chiki Old_Italic Old_Persian Old_South_Arabian "
    "Old_Turkic Oriya Osmanya Pf Phags_Pa Phoenician Pi Rejang Runic Samaritan "
    "Saurashtra Shavian Sinhala So Sundanese Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le "
    "Tai_Tham Tai_Viet Tamil Telugu Thaana Thai Tibetan Tifinagh Ugaritic Vai Yi Zl Zp";

static struct pattern_set named_set_of(const struct named_set *ns)
{
    struct pattern_set s = {{0, 0}};
    if (ns->members != NULL) {
        set_add_text(&s, ns->members);
    }
    for (const char *pair = ns->range; pair != NULL && *pair != '\0'; pair += 2) {
        /* A range that begins at 1 begins at 0, which no text can hold. */
        uint32_t low = pair[0] == '\1' ? 0 : (uint8_t)pair[0];
        pattern_set_add_range(&s, low, (uint8_t)pair[1], false);
    }
    return s;
}

bool pattern_set_of_group(struct str name, struct pattern_set *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        if (str_is(name, groups[i].name)) {
            *ret = named_set_of(&groups[i]);
            return true;
        }
    }
    return false;
}

bool pattern_set_of_table(struct str name, struct pattern_set *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(unicode_tables); i++) {
        if (str_is(name, unicode_tables[i].name)) {
            *ret = named_set_of(&unicode_tables[i]);
            return true;
        }
    }
    struct str rest = STR(unicode_foreign);
    struct str foreign;
    while (str_split(&rest, ' ', &foreign)) {
        if (str_equal(name, foreign)) {
            *ret = (struct pattern_set){{0, 0}};
            return true;
        }
    }
    return false;
}

uint32_t pattern_set_decode(struct str text, size_t *ret_len)
{
    const uint8_t *p = (const uint8_t *)text.ptr;
    *ret_len = 1;
    if (p[0] < 0x80) {
        return p[0];
    }
    size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || text.len < len) {
        return RUNE_BAD;
    }
    uint32_t rune = p[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return RUNE_BAD;
        }
        rune = rune << 6 | (p[i] & 0x3f);
    }
    *ret_len = len;
    return rune;
}
