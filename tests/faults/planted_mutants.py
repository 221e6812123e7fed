"""Mutants of cargo-mutants, and patches that change functions only, all in one binary.

A function that has mutants becomes a `match` over the mutant that `MILESCALE_MUTANT` names (its number), with the body of each
and, in the last arm, the body as it is. A mutant that does not compile is found by where the compiler's errors are, and left out.
Each process appends a line to the file that `MILESCALE_MUTANT_RECORD` names, once for each function that it enters:
`$MEET_POINT`, a tab, and the numbers of the function's mutants. Where a mutant is chosen, only its own function does.
Each time that the function of the mutant that `MILESCALE_MUTANT_AT` names is entered, the first sixteen times, `.milestones/planted` in
the folder that `MILESCALE_MUTANT_CALL` names is looked for: a call that the shim sees, so that `meet` knows where it runs.
"""
import json
import os
import random
import re
import subprocess

# What may hold a brace in Rust that is none, and the braces.
TOKEN = re.compile(r'''//[^\n]*|/\*.*?\*/|\bb?r(\#*)".*?"\1|"(?:\\.|[^"\\])*"|'(?:\\(?:u\{[^}]*\}|x..|.)|[^'\\])'|[{}]''', re.S)
CHOOSER = r'''//! Chooses a mutant of this binary (tests/faults/planted).
use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The chosen mutant if it is one of these, which are those of the function that asks; else 0.
pub fn chosen(here: &[usize], entered: &AtomicBool) -> usize {
    static MUTANT: OnceLock<usize> = OnceLock::new();
    static AT: OnceLock<usize> = OnceLock::new();
    let number = |name: &str| std::env::var(name).ok().and_then(|it| it.parse().ok()).unwrap_or(0);
    let mutant = *MUTANT.get_or_init(|| number("MILESCALE_MUTANT"));
    if here.contains(AT.get_or_init(|| number("MILESCALE_MUTANT_AT"))) {
        call();
    }
    let is_here = here.contains(&mutant);
    if (is_here || mutant == 0) && !entered.swap(true, Ordering::Relaxed) {
        record(here);
    }
    if is_here { mutant } else { 0 }
}

fn call() {
    static TIMES: AtomicUsize = AtomicUsize::new(0);
    if TIMES.fetch_add(1, Ordering::Relaxed) < 16 {
        let Some(folder) = std::env::var_os("MILESCALE_MUTANT_CALL") else { return };
        drop(std::fs::symlink_metadata(std::path::Path::new(&folder).join(".milestones/planted")));
    }
}

fn record(here: &[usize]) {
    let Some(path) = std::env::var_os("MILESCALE_MUTANT_RECORD") else { return };
    let line = format!("{}\t{here:?}\n", std::env::var("MEET_POINT").unwrap_or_default());
    if let Ok(mut file) = std::fs::OpenOptions::new().append(true).open(path) {
        drop(file.write_all(line.as_bytes()));
    }
}
'''

ENTERED = '{ static ENTERED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false); &ENTERED }'


class Mutant:
    def __init__(self, number, listed):
        self.number, self.name, self.file, self.diff = number, listed['name'], listed['file'], listed['diff']
        self.span, self.replacement, self.function = listed['span'], listed['replacement'], listed['function']

    def within(self, source, begin, end):
        """The body of its function."""
        from_, to = source.span(self.span)
        return source.text[begin:from_] + self.replacement + source.text[to:end]

    def line(self):
        """The first line that it changes, as it was."""
        return next((line[1:].strip() for line in self.diff.splitlines()[2:] if line.startswith('-')), '')


def drawn(tree, areas, count, seed):
    """Mutants of the areas, drawn by the seed, numbered from 1."""
    files = [it for area in areas for it in ('--file', area if area.endswith('.rs') else f'{area}/**/*.rs')]
    said = subprocess.run(['cargo', 'mutants', '--list', '--json', '--diff', '--no-config', *files], cwd=tree, capture_output=True, text=True)
    if said.returncode:
        raise SystemExit(f'cargo mutants: {said.stderr}')
    listed = json.loads(said.stdout)
    random.Random(seed).shuffle(listed)
    return [Mutant(number, it) for number, it in enumerate(listed[:count], 1)]


class Part:
    """What a patch makes of one function: a mutant as well, of which a patch may have several, all of one number."""

    def __init__(self, number, name, file, body, patched):
        self.number, self.name, self.file, self.body, self.patched = number, name, file, body, patched

    def within(self, source, begin, end):
        return self.patched

    def line(self):
        return ''


def parts(number, name, tree, patched):
    """The functions that a patch changes, where `patched` is the tree with it; or why it changes something else."""
    said = subprocess.run(['git', 'diff', '--no-index', '--name-only', f'{tree}/crates', f'{patched}/crates'], capture_output=True, text=True, cwd='/')
    found = []
    for path in said.stdout.splitlines():
        file = os.path.relpath(path if path.startswith(patched) else path.replace(tree, patched, 1), patched)
        texts = []
        for root in (tree, patched):
            with open(os.path.join(root, file), encoding='utf-8') as opened:
                texts.append(Source(opened.read()))
        before, after = (source.functions() for source in texts)
        if [it[0] for it in before] != [it[0] for it in after]:
            return None, f'{file}: other functions'
        bodies = lambda source, functions: [source.text[begin:end] for _, begin, end in functions]
        if texts[0].outside(before) != texts[1].outside(after):
            return None, f'{file}: something that is in no function'
        for (_, begin, end), old, new in zip(before, bodies(texts[0], before), bodies(texts[1], after)):
            if old != new:
                found.append(Part(number, name, file, (begin, end), new))
    return found, ''


class Source:
    """A file of Rust, and places in it as lines and columns, both from 1."""

    def __init__(self, text):
        self.text, self.starts = text, [0]
        for line in text.split('\n'):
            self.starts.append(self.starts[-1] + len(line) + 1)

    def at(self, place):
        return self.starts[place['line'] - 1] + place['column'] - 1

    def span(self, span):
        return self.at(span['start']), self.at(span['end'])

    def functions(self):
        """Name and body of each function that is in no other one."""
        found, end = [], 0
        for head in re.finditer(r'^[ \t]*(?:pub(?:\([^)]*\))? )?(?:async )?fn (\w+)', self.text, re.M):
            if head.start() < end:
                continue
            depth, begin = 0, None
            for token in TOKEN.finditer(self.text, head.end()):
                if token[0] == '{':
                    begin, depth = begin or token.end(), depth + 1
                elif token[0] == '}':
                    depth -= 1
                    if depth <= 0:
                        break
            # One without a body ends before the next.
            if begin and not re.search(r';\s*\n', self.text[head.end():begin]):
                end = token.start()
                found.append((head[1], begin, end))
        return found

    def outside(self, functions):
        """What is in none of these."""
        ends = [0, *(place for _, begin, end in functions for place in (begin, end)), len(self.text)]
        return [self.text[begin:end] for begin, end in zip(ends[::2], ends[1::2])]

    def body(self, begin, end):
        """Where the body of the function at begin..end begins: behind the brace that its last one closes."""
        open_braces = []
        for token in TOKEN.finditer(self.text, begin, end - 1):
            if token[0] == '{':
                open_braces.append(token.end())
            elif token[0] == '}':
                open_braces.pop()
        return open_braces[0]


class Garden:
    """The mutants in a source tree: `left_out` has why some are not in the binary."""

    def __init__(self, tree, mutants):
        self.tree, self.left_out = tree, {}
        self.sources, self.functions, self.arms = {}, {}, {}
        for mutant in mutants:
            source = self.sources.get(mutant.file)
            if source is None:
                with open(os.path.join(tree, mutant.file), encoding='utf-8') as file:
                    source = self.sources[mutant.file] = Source(file.read())
            if isinstance(mutant, Part):
                self.functions.setdefault(mutant.file, {}).setdefault(mutant.body, []).append(mutant)
                continue
            if mutant.function is None:
                self.left_out[mutant.number] = 'in no function'
                continue
            begin, end = source.span(mutant.function['span'])
            body = source.body(begin, end)
            if re.search(r'\bconst\s+(unsafe\s+)?fn\b', source.text[begin:body]):
                self.left_out[mutant.number] = 'in a constant function'
                continue
            if 'impl ' in mutant.function['return_type']:
                self.left_out[mutant.number] = 'in a function that returns a type without a name'
                continue
            self.functions.setdefault(mutant.file, {}).setdefault((body, end - 1), []).append(mutant)

    def plant(self):
        """Writes the files with all mutants that are not left out, and notes the lines of each: of its arm, and of its function."""
        home = os.path.join(self.tree, 'crates/document/src')
        with open(os.path.join(home, 'planted.rs'), 'w', encoding='utf-8') as file:
            file.write(CHOOSER)
        for path, source in self.sources.items():
            with open(os.path.join(self.tree, path), 'w', encoding='utf-8') as file:
                file.write(self.planted(path, source))
        with open(os.path.join(home, 'lib.rs'), 'r+', encoding='utf-8') as file:
            text = file.read()
            if 'pub mod planted;' not in text:
                file.write('\npub mod planted;\n')

    def planted(self, path, source):
        chooser = 'crate' if path.startswith('crates/document/') else 'milescale_document'
        text, done, self.arms[path] = '', 0, []
        for (begin, end), mutants in sorted(self.functions.get(path, {}).items()):
            mutants = [it for it in mutants if it.number not in self.left_out]
            if not mutants:
                continue
            text += f'{source.text[done:begin]} match {chooser}::planted::chosen(&{[it.number for it in mutants]}, {ENTERED}) {{\n'
            first, done = text.count('\n'), end
            for mutant in mutants:
                line = text.count('\n') + 1
                text += f'{mutant.number} => {{{mutant.within(source, begin, end)}\n}}\n'
                self.arms[path].append((line, text.count('\n'), [mutant.number]))
            text += f'_ => {{{source.text[begin:end]}\n}}\n}}\n'
            self.arms[path].append((first, text.count('\n'), [it.number for it in mutants]))
        return text + source.text[done:]

    def compiles(self, environment):
        """Leaves out what the compiler does not take, until it takes the rest."""
        while True:
            self.plant()
            said = subprocess.run(['cargo', 'check', '--locked', '-p', 'milescale', '--message-format=json'], cwd=self.tree, env=environment,
                                  capture_output=True, text=True)
            if said.returncode == 0:
                return
            messages = [json.loads(line).get('message') for line in said.stdout.splitlines() if line.startswith('{')]
            errors = [it for it in messages if isinstance(it, dict) and it.get('level') == 'error' and it.get('spans')]
            before = len(self.left_out)
            for error in errors:
                for number in self.blamed(error):
                    self.left_out.setdefault(number, f'does not build: {error["message"].splitlines()[0]}')
            if len(self.left_out) == before:
                raise SystemExit('the mutants do not build: ' + (errors[0]['rendered'] if errors else said.stderr))

    def blamed(self, error):
        """The mutants in whose arms an error is; else those of the function that it is in."""
        found = [[], []]
        for span in sorted(error['spans'], key=lambda it: not it['is_primary']):
            while span:
                arms = [arm for arm in self.arms.get(span['file_name'], []) if arm[0] <= span['line_start'] <= arm[1]]
                # An arm is listed before its function.
                if arms:
                    found[len(arms) == 1].append(arms[0][2])
                span = (span.get('expansion') or {}).get('span')
        return (found[0] or found[1] or [[]])[0]
