// The grammar of abc tokens, one row after the other; abc_allowed.py and abc_advance.py say the same of all rows.
// Shapes: b batch, v vocabulary, n lengths, p pitch words, w voices, f fields.

constexpr int64_t SETS = HELD + 2;  // of pitches: the ties of each voice, what sounds, the open chord's ties
constexpr int64_t PLENTY = int64_t(1) << 40;

// What the questions about a row need.
struct View {
    int64_t room, crowd, meter, key, longest;
    bool free;
    bool valid[LENGTHS];  // lengths that the last event may have; the last one is the plain one
};

static View view(const Tables &t, const int64_t *f, const int64_t *voices) {
    View view;
    const int64_t *mine = voices + f[F_voice];
    view.meter = mine[0], view.key = mine[VOICES], view.crowd = mine[2 * VOICES];
    const int64_t target = f[F_voice] > 0 ? f[F_barlen] : t.limits[view.meter];
    const int64_t tuplet = f[F_tuplet], left = target - f[F_pos], chosen = f[F_tuplet_length];
    int64_t row = t.need_row[(tuplet * 2 + (f[F_tuplet_left] > 0)) * 3 + f[F_tuplet_sum]] + f[F_unit] * t.situations;
    if (chosen >= 0 && t.even[tuplet]) row = t.same_row + chosen;
    const int64_t budget = left - t.rests[(f[F_unit] * (t.none + 1) + tuplet) * t.rest_size + f[F_tuplet_left]];
    const int64_t *needs = t.needs + row * (t.plain + 1);
    view.longest = -1;
    for (int64_t n = 0; n <= t.plain; ++n) {
        view.valid[n] = needs[n] <= budget;
        if (view.valid[n]) view.longest = std::max(view.longest, t.lengths[n]);
    }
    view.room = left - f[F_dur];
    view.free = target == FOREVER;
    return view;
}

// Tokens left beyond those that a clean end may still need.
static int64_t spare_tokens(const Tables &t, const int64_t *f) {
    if (!t.length) return PLENTY;
    const int64_t several = std::max(std::max(f[F_voices], f[F_voice] + 1), int64_t(2));
    const int64_t voices = f[F_voicing] == MULTI ? several : 1;
    int64_t need = t.need[f[F_where]] + 2 * f[F_tuplet_left];
    if (f[F_where] == CHORD) need += std::min(f[F_held], int64_t(2));
    if (f[F_voicing] == MULTI) need += FILL * (voices - f[F_voice]);
    if (t.bars) need += std::max(t.bars - f[F_rounds], int64_t(0)) * voices * FILL;
    return t.length - f[F_used] - f[F_owed] - need;
}

static void pitch_words(const Tables &t, const int64_t *f, const View &view, const int64_t *alters, const bool *pitches,
                        bool starts, bool calm, bool *out) {
    const bool chord = f[F_where] == CHORD;
    const bool grace = f[F_where] == GRACE && f[F_graces] < MOST_GRACES && (f[F_graces] == 0 || calm);
    bool *words = out + t.first_pitch;
    if (!chord && !(starts && view.crowd == 1)) {
        std::memset(words, (starts && view.crowd == 0) || grace, t.pitches);
        return;
    }
    const bool *ties = pitches + f[F_voice] * 128, *held = pitches + HELD * 128;
    int64_t lowest = 128, left = 0;
    for (int64_t midi = 127; midi >= 0; --midi)
        if (ties[midi] && !held[midi]) lowest = midi, ++left;
    const int64_t count = f[F_held];
    const bool takes = count + left < MOST_CHORD && (calm || (count + left < 2 && lowest == 128));
    for (int64_t p = 0; p < t.pitches; ++p) {
        const int64_t midi = t.pitch_base[p] + (t.pitch_signed[p] ? t.pitch_alter[p] : alters[t.pitch_step[p]]);
        const bool rising = midi > f[F_chord_last] && midi <= lowest && (count > 0 || midi < 108);
        words[p] = (chord && rising && (midi == lowest || takes)) || (starts && view.crowd == 1 && ties[midi]);
    }
    out[t.close] = chord && count > 1 && left == 0;
}

static void voice_words(const Tables &t, const int64_t *f, int64_t spare, bool over, bool *words) {
    const int64_t voice = f[F_voice], voices = f[F_voices];
    if (over && (voices > 0 ? voice + 1 >= voices : voice > 0)) return;
    if (voices > 0) {
        words[voice + 1 >= voices ? 0 : voice + 1] = true;
        return;
    }
    if (voice > 0) words[0] = true;
    if (voice + 1 < VOICES && (voice == 0 || spare > 3 * FILL * std::max(t.bars, int64_t(1)))) words[voice + 1] = true;
}

static void allowed_row(const Tables &t, const int64_t *f, const int64_t *voices, const int64_t *alters,
                        const bool *pitches, bool *out) {
    const int64_t where = f[F_where], spare = spare_tokens(t, f);
    const View v = view(t, f, voices);
    const bool at_bar = where == BAR, chord = where == CHORD, sized = where == EVENT, single = f[F_voicing] == SINGLE;
    const bool multi = f[F_voicing] == MULTI, notes = f[F_notes] > 0, whole = f[F_tuplet_left] <= 0;
    const bool hurry = spare < 4, calm = spare > 8, idle = v.crowd == 0, roomy = v.room > 0;
    const bool last = f[F_final] > 0 || (t.bars && f[F_rounds] + 1 >= t.bars);

    bool over = f[F_final] == 1 && (!multi || f[F_voice] + 1 >= f[F_voices]);
    over = (over || (t.bars && f[F_rounds] >= t.bars)) && ((at_bar && single) || where == VOICE);
    const bool complete = f[F_voices] > 0 ? f[F_voice] + 1 == f[F_voices] : f[F_voice] > 0;
    bool ends = (at_bar && single) || (multi && where == VOICE && complete);
    ends = ends && f[F_rounds] > 0 && notes && f[F_owed] <= 0 && f[F_rounds] >= t.bars;
    const bool sound = notes && idle, brief = sound && (!t.bars || last);
    const bool full = v.room == 0 || v.free || ((brief || f[F_rounds] <= 0) && f[F_voice] <= 0);
    const bool may_close = full && (f[F_pos] > 0 || f[F_dur] > 0) && (!last || sound);

    const bool settled = where == SIZED || where == TIED || (sized && v.valid[t.plain]);
    const bool before = at_bar || where == METER || where == KEY || where == TUPLET || where == GRACED;
    bool starts = (before || settled) && roomy && !over;
    if (hurry) starts = starts && !(ends || (settled && may_close && whole));
    const bool free = starts && where != GRACED, unbound = free && idle, marks = free && whole && where != TUPLET;

    std::memset(out, 0, t.size);
    out[t.rest] = unbound && (notes || !hurry);
    out[t.grace] = unbound && spare > 12;
    out[t.open] = starts && (spare > 24 || v.crowd > 1);
    for (int64_t i = 0; i < t.none; ++i)
        out[t.first_tuplet + i] = marks && t.least[f[F_unit] * t.none + i] <= v.room && spare - 8 > 2 * t.tuplet_r[i];
    std::memset(out + t.first_key, (marks && where != KEY && calm) || where == HEAD_K, t.keys);
    if (where != HEAD_K) out[t.first_key + v.key] = false;
    const bool lead = at_bar && f[F_rounds] > 0 && !(over || f[F_voice] > 0) && calm;
    std::memset(out + t.first_meter, lead || where == HEAD_M, t.meters);
    if (where != HEAD_M) out[t.first_meter + v.meter] = false;
    std::memset(out + t.first_unit, where == HEAD_L, t.units);
    pitch_words(t, f, v, alters, pitches, starts, calm, out);

    const bool slow = hurry && !may_close && v.longest > 32;
    if (sized && (!hurry || !v.valid[t.plain] || slow))
        for (int64_t n = 0; n < t.plain; ++n)
            out[t.first_length + n] = v.valid[n] && (!hurry || t.lengths[n] == v.longest);
    const bool outer = settled && where != TIED && f[F_sounds] > 0 && (roomy || !last);
    out[t.tie] = (outer || (chord && f[F_held] > 0 && !(f[F_dash] > 0 || last))) && spare > 24;
    out[t.ungrace] = where == GRACE && f[F_graces] > 0;
    bool closes = out[t.bar] = settled && whole && may_close;
    if (sized && slow) {  // only a longer length brings the bar to its end in time
        std::memset(out, 0, t.first_length);
        std::memset(out + t.first_length + t.plain, 0, t.size - t.first_length - t.plain);
        closes = false;
    }
    if (multi && at_bar && !over && f[F_voice] > 0 && v.meter != voices[0]) {  // follows the first voice's meter
        std::memset(out, 0, t.size);
        out[t.first_meter + voices[0]] = true;
        closes = false;
    }
    out[t.first_voice] = at_bar && f[F_voicing] <= 0 && spare > 5 * FILL;
    if (where == VOICE) voice_words(t, f, spare, over, out + t.first_voice);
    if (ends && hurry) std::memset(out, 0, t.size);
    out[t.eos_id] = ends || (closes && single && notes && idle && !t.bars);
    if (!std::memchr(out, 1, t.size)) out[at_bar ? t.eos_id : t.bar] = true;
}

// fields (b f), voices (b 3 w), alters (b steps), pitches (b w+2 128) -> out (b v)
extern "C" int64_t allowed(const Tables *tables, int64_t batch, const int64_t *fields, const int64_t *voices,
                        const int64_t *alters, const bool *pitches, bool *out) {
    const Tables &t = *tables;
    for (int64_t b = 0; b < batch; ++b)
        allowed_row(t, fields + b * FIELDS, voices + b * 3 * VOICES, alters + b * t.steps, pitches + b * SETS * 128,
                    out + b * t.size);
    return -1;
}

// Notes that sound and ties that the voice's next event must take up.
static void sound(const int64_t *f, int64_t *n, const bool *flags, int64_t midi, int64_t &crowd, bool *pitches) {
    const bool event = flags[0], struck = flags[1], single = flags[2], inner = flags[3];
    const bool opens = flags[4], closes = flags[5], outer = flags[6], dash = flags[7];
    if (outer || closes || (event && crowd > 0)) {
        bool *mine = pitches + f[F_voice] * 128;
        if (struck)
            std::memset(mine, 0, 128);
        else
            std::memmove(mine, pitches + (outer ? HELD : closes ? HELD + 1 : f[F_voice]) * 128, 128);
    }
    const bool cleared = opens || struck;
    if (cleared) std::memset(pitches + HELD * 128, 0, 2 * 128);
    if (single || inner) pitches[HELD * 128 + midi] = true;
    if (dash) pitches[(HELD + 1) * 128 + std::max(f[F_chord_last], int64_t(0))] = true;
    n[F_held] = (cleared ? 0 : f[F_held]) + (single || inner);
    n[F_tied] = (cleared ? 0 : f[F_tied]) + dash;
    const int64_t now = outer ? f[F_held] : closes ? f[F_tied] : event ? 0 : crowd;
    n[F_owed] = f[F_owed] + now - crowd + 4 * (now > 0) - 4 * (crowd > 0);
    crowd = now;
}

// The tuplet, its notes to come, its sum of lengths and its first length.
static void group(const Tables &t, const int64_t *f, int64_t *n, int64_t id, bool event, bool bar, bool tuplet) {
    const bool fresh = (event && f[F_tuplet_left] == 0) || bar;
    n[F_tuplet] = fresh ? t.none : f[F_tuplet];
    const bool inside = event && n[F_tuplet] < t.none;
    n[F_tuplet_left] = bar ? 0 : std::max(f[F_tuplet_left] - inside, int64_t(0));
    n[F_tuplet_sum] = fresh ? 0 : f[F_tuplet_sum];
    n[F_tuplet_length] = fresh ? -1 : f[F_tuplet_length];
    if (inside && f[F_tuplet_left] < t.tuplet_r[f[F_tuplet]]) {
        n[F_tuplet_sum] = (n[F_tuplet_sum] + t.lengths[f[F_told]]) % 3;
        if (n[F_tuplet_length] < 0) n[F_tuplet_length] = f[F_told];
    }
    if (tuplet) {
        n[F_tuplet] = t.mark[id];
        n[F_tuplet_left] = t.tuplet_r[t.mark[id]];
        n[F_tuplet_sum] = 0;
        n[F_tuplet_length] = -1;
    }
}

// The current voice, how many there are once known, and the rounds: the last voice's bar line ends one.
static void turns(const Tables &t, const int64_t *f, int64_t *n, int64_t id, bool bar, bool voice) {
    const bool multi = f[F_voicing] == MULTI, known = f[F_voices] > 0;
    const bool last = known ? f[F_voice] + 1 >= f[F_voices] : f[F_voice] > 0;
    n[F_rounds] = f[F_rounds] + (bar && (!multi || (known && last)));
    if (bar && multi && !known && last) n[F_rounds] = 1;
    n[F_voice] = f[F_voice];
    n[F_voices] = f[F_voices];
    if (!voice) return;
    const int64_t chosen = id - t.first_voice;
    n[F_voice] = chosen;
    if (!known && chosen == 0 && f[F_where] == VOICE) n[F_voices] = f[F_voice] + 1;
    if (!known && chosen > 0) n[F_rounds] = 0;
}

static void advance_row(const Tables &t, const int64_t *f, int64_t *n, int64_t id, int64_t *voices, int64_t *alters,
                        bool *pitches) {
    const int64_t code = t.code[id] + f[F_where] * VOICINGS + f[F_voicing], kind = t.kind[id];
    const bool *flags = t.flags + code * t.flag_count;
    const bool event = flags[0], single = flags[2], inner = flags[3], opens = flags[4], closes = flags[5];
    const bool bar = flags[8], voice = flags[9], graced = flags[10], grace = flags[11], tuplet = flags[12];
    const bool sized = flags[13], told = flags[14];
    const int64_t old = f[F_voice], end = f[F_pos] + f[F_dur], step = t.step[id];
    // The pitch that sounds, by the signs in force; other words leave step 0 as it is.
    if (t.is_signed[id]) alters[step] = t.alter[id];
    const int64_t midi = t.base[id] + alters[step];

    sound(f, n, flags, midi, voices[2 * VOICES + old], pitches);
    group(t, f, n, id, event, bar, tuplet);
    turns(t, f, n, id, bar, voice);
    n[F_where] = t.leads[code];
    n[F_voicing] = t.voicing[code];
    n[F_told] = sized ? t.column[id] : f[F_told];
    const int64_t span = t.spans[(f[F_unit] * (t.none + 1) + n[F_tuplet]) * (t.plain + 1) + n[F_told]];
    const bool stays = !(bar || voice);
    n[F_pos] = stays ? (event ? end : f[F_pos]) : 0;
    n[F_dur] = stays ? (sized ? span : f[F_dur]) : 0;
    n[F_barlen] = bar && old == 0 ? end : f[F_barlen];
    n[F_final] = f[F_final] | (bar && old == 0 && end < t.meter_ticks[voices[old]] && f[F_rounds] > 0);
    n[F_unit] = f[F_unit];
    if (told) {
        const bool head = f[F_where] < BAR;
        if (kind == UNIT) {
            if (head) n[F_unit] = id - t.first_unit;
        } else {  // the header's hold for all voices
            int64_t *values = voices + (kind == METER_WORD ? 0 : VOICES);
            const int64_t value = id - (kind == METER_WORD ? t.first_meter : t.first_key);
            for (int64_t w = 0; w < VOICES; ++w)
                if (head || w == old) values[w] = value;
        }
    }
    if (!stays || told)
        std::memcpy(alters, t.key_alters + voices[VOICES + n[F_voice]] * t.steps, t.steps * sizeof(int64_t));
    n[F_graces] = grace ? 0 : f[F_graces] + graced;
    n[F_chord_last] = opens ? -1 : inner ? midi : f[F_chord_last];
    n[F_used] = f[F_used] + 1;
    n[F_notes] = f[F_notes] | single | closes;
    n[F_sounds] = event ? single || closes : f[F_sounds];
    n[F_dash] = (f[F_dash] && !(inner || opens)) || flags[7];
}

// fields, voices, alters, pitches, ids (b) -> the same four; returns the first row whose id does not exist, or -1
extern "C" int64_t advance(const Tables *tables, int64_t batch, const int64_t *fields, const int64_t *voices,
                        const int64_t *alters, const bool *pitches, const int64_t *ids, int64_t *new_fields,
                        int64_t *new_voices, int64_t *new_alters, bool *new_pitches) {
    const Tables &t = *tables;
    for (int64_t b = 0; b < batch; ++b)
        if (ids[b] < 0 || ids[b] >= t.size) return b;
    std::memcpy(new_voices, voices, batch * 3 * VOICES * sizeof(int64_t));
    std::memcpy(new_alters, alters, batch * t.steps * sizeof(int64_t));
    std::memcpy(new_pitches, pitches, batch * SETS * 128);
    for (int64_t b = 0; b < batch; ++b)
        advance_row(t, fields + b * FIELDS, new_fields + b * FIELDS, ids[b], new_voices + b * 3 * VOICES,
                    new_alters + b * t.steps, new_pitches + b * SETS * 128);
    return -1;
}
