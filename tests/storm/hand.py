#!/usr/bin/env python3
"""A process that writes: some milestones, each with its habit, from one account and one place (a container's, perhaps).

    hand.py SPEC        SPEC is JSON: root, url, schema, binary, tasks, strict, first, end, pace, lulls, seed, retiring, archiving, swept

Prints a line a write: [begin, end, id, token, whether it counts, what, comment, taken out]. A write adds a token, a key that no other write
has, or a comment with such a number, or both; it counts where it ended without an error. `comment` is the number of the comment, or 0. `taken out`
are the comments that it leaves out of what was written before, `true` for all of them: a row has none.
"""
import ctypes
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time

import verify

SIDE = {'file': 'files', 'hybrid': 'files', 'sqlite': 'sqlite', 'postgresql': 'postgresql'}
FILES, ROWS = ('file', 'hybrid'), ('sqlite', 'postgresql')


# What a write changes: of each three about one writes a comment. A row has values only.
EDITS = ['value'] * 6 + ['value, comment'] * 3 + ['comment'] * 2 + ['no comments', 'value, no comments']
COMMENT = re.compile(r'[ \t]*# c\d+$')


class Draft:
    """What a writer has written of its milestone, or writes next: numbers of values and of comments."""

    def __init__(self, values=(), comments=()):
        self.values, self.comments = list(values), list(comments)

    def edit(self, what, number):
        """The draft with an edit more."""
        values, comment = [number] * (what == 'row' or 'value' in what), [number] * ('comment' in what.split(', '))
        return Draft(self.values + values, [] if what == 'row' or 'no comments' in what else self.comments + comment)

    def document(self, id, status=None):
        """As a person writes it: comments at the top, behind a value and at the end. Without any it is what milescale itself would write."""
        above, behind, below = ([number for number in self.comments if number % 3 == place] for place in range(3))
        title = f'"T {id}"' if self.comments else f'T {id}'
        return ''.join(f'# c{number}\n' for number in above) + f'id: {id}\ntitle: {title}' + ''.join(f'  # c{number}' for number in behind[-1:]) + '\n' \
            + ''.join(f'# c{number}\n' for number in behind[:-1]) + (f'status: {status}\n' if status else '') \
            + ''.join(f't{token}: 1\n' for token in self.values) + ''.join(f'# c{number}\n' for number in below)

    def marks(self):
        return [f't{number}: 1' for number in self.values] + [f'# c{number}' for number in self.comments]


def added(before, after):
    """The lines that make one draft the other, and the comments that are gone."""
    more = Draft([it for it in after.values if it not in before.values], [it for it in after.comments if it not in before.comments])
    return ''.join(f'{mark}\n' for mark in more.marks()), [it for it in before.comments if it not in after.comments]


def uncommented(text):
    """A text without its comments, as milescale writes values."""
    lines = [COMMENT.sub('', line) for line in text.splitlines()]
    return ''.join(re.sub(r'^title: "(.*)"$', r'title: \1', line) + '\n' for line in lines if line)


def where_in(root):
    """What an adapter reads: marker and engine."""
    config = os.path.join(root, '.milestones', 'config')
    try:
        with open(os.path.join(config, 'storage-backend.txt')) as file:
            backend = file.read().strip()
        if backend != 'database':
            return backend or 'file'
        with open(os.path.join(config, 'storage-config.yaml')) as file:
            return re.search(r'type: (\w+)', file.read()).group(1)
    except FileNotFoundError:
        return 'file'


def move_over_nothing(old, new):
    """`mv -n`, in one step."""
    os.makedirs(os.path.dirname(new), exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), 1) == 0


# --- habits: each writes a text to a path, by its own way; those that append, what is new in it


def in_place(hand, path, text, new, dice):
    half = dice.randrange(len(text))
    with open(path, 'w') as file:
        file.write(text[:half])
        file.flush()
        time.sleep(dice.choice([0, 0, 0.02, 0.3]))
        file.write(text[half:])


def append(hand, path, text, new, dice):
    if not os.path.exists(path):
        return in_place(hand, path, text, new, dice)
    with open(path, 'a') as file:
        file.write(new)


def holder(hand, path, text, new, dice):
    """Keeps the file open for a while before it writes."""
    if not os.path.exists(path):
        return in_place(hand, path, text, new, dice)
    with open(path, 'a') as file:
        time.sleep(dice.choice([0.1, 0.5, 1, 3, 6]))
        file.write(new)


def mv(hand, path, text, new, dice):
    with open(path + '.new', 'w') as file:
        file.write(text)
    os.rename(path + '.new', path)


def editor(hand, path, text, new, dice):
    if os.path.exists(path):
        os.rename(path, path + '~')
    with open(path, 'w') as file:
        file.write(text)


def again(hand, path, text, new, dice):
    if os.path.exists(path):
        os.unlink(path)
    time.sleep(dice.uniform(0, 0.2))
    with open(path, 'w') as file:
        file.write(text)


def stash(hand, path, text, new, dice):
    """Writes, stashes it with git, and brings it back."""
    in_place(hand, path, text, new, dice)
    if not shutil.which('git'):
        return None
    name = os.path.relpath(path, hand.root)
    with hand.git:
        stashed = hand.run(['git', 'stash', 'push', '-q', '--', name])
        time.sleep(dice.uniform(0, 0.4))
        # Somebody may have made the file another one meanwhile: then git keeps it, and this writer writes again.
        if stashed.returncode == 0 and hand.run(['git', 'stash', 'pop', '-q']).returncode != 0:
            hand.run(['git', 'checkout', '-q', 'stash@{0}', '--', name])
            hand.run(['git', 'reset', '-q'])
            hand.run(['git', 'stash', 'drop', '-q'])
        with open(path) as file:
            there = file.read()
        return all(mark in there for mark in new.splitlines())


def locked(hand, path, text, new, dice):
    """As adapters do that take the courtesy of a lock; it is left behind now and then."""
    lock = os.path.join(hand.root, '.milestones', 'locks', os.path.basename(path)[:-5] + '.lock')
    try:
        os.mkdir(lock)
        for name, said in (('pid', str(os.getpid())), ('timestamp', time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime()))):
            with open(os.path.join(lock, name), 'w') as file:
                file.write(said + '\n')
    except FileExistsError:
        pass
    mv(hand, path, text, new, dice)
    if dice.random() < 0.8:
        shutil.rmtree(lock, ignore_errors=True)


# A person saves the file, but where rows are in use: there it is `put`, or the file is edited all the same.
HABITS = {'person': mv, 'in place': in_place, 'mv': mv, 'editor': editor, 'append': append, 'adapter': in_place, 'late adapter': in_place,
          'again': again, 'stash': stash, 'holder': holder, 'locked': locked}

APPENDING = (append, holder)

# What somebody does who moves files to the archive and back.
FINISHING = ['edit, finish', 'finish, edit', 'finish', 'edit', 'back', 'back, edit', 'edit', 'finish in place']


class Hand:
    def __init__(self, spec):
        self.root, self.url, self.schema, self.binary = (spec[key] for key in ('root', 'url', 'schema', 'binary'))
        self.spec, self.next_token = spec, spec['first']
        self.lock, self.git = threading.Lock(), threading.Lock()

    def path(self, *parts):
        return os.path.join(self.root, '.milestones', *parts)

    def run(self, arguments, **more):
        return subprocess.run(arguments, capture_output=True, text=True, cwd=self.root, **more)

    def where(self):
        return where_in(self.root)

    def goes_on(self):
        return time.monotonic() < self.spec['end']

    def rest(self, dice, least=0.02, most=0.25):
        time.sleep(min(dice.uniform(least, most) * self.spec['pace'], max(0, self.spec['end'] - time.monotonic())))

    def lull(self):
        """All wait at once for a part of each three seconds: a move finds its moment, and meets them right after it."""
        if self.spec['lulls']:
            time.sleep(max(0, 0.8 - time.monotonic() % 3))

    def token(self):
        with self.lock:
            self.next_token += 1
            return self.next_token

    def note(self, begin, id, token, done, what, comment=0, taken_out=()):
        with self.lock:
            print(json.dumps([round(begin, 4), round(time.monotonic(), 4), id, token, bool(done), what, comment, taken_out]), flush=True)
        return done

    def attempt(self, id, what, draft, edit, act):
        """A write, noted with what became of it: `act` is given the draft with an edit more, and what is new in it. The draft that stands then."""
        self.lull()
        number, begin = self.token(), time.monotonic()
        after = draft.edit(edit, number)
        new, taken_out = added(draft, after)
        token, comment = number * (number in after.values), number * (number in after.comments)
        try:
            done = act(after, new)
        except (OSError, sqlite3.Error, subprocess.SubprocessError) as error:
            # Its own tool refused it.
            done, what = False, f'{what}: {error}'
        taken_out = edit == 'row' or taken_out
        self.note(begin, id, token, done is not False, f'{what} ({edit})', comment, taken_out)
        return after if done is not False else draft

    # --- rows

    def sql(self, where, statement):
        """Carries out a statement, in one step; how many rows it was about. SQLite does not wait, as its shell does not."""
        if where == 'sqlite':
            # Opened only where it is: a shell would make an empty one.
            connection = sqlite3.connect(f'file:{self.path("enterprise.db")}?mode=rw', uri=True, timeout=0, isolation_level=None)
            try:
                return connection.execute(statement).rowcount
            finally:
                connection.close()
        return len(verify.psql(self.url, statement + ' RETURNING 1').splitlines())

    def row(self, where, id, draft, status=None):
        data = json.dumps({'id': id, 'title': f'T {id}', **({'status': status} if status else {}), **{f't{token}': 1 for token in draft.values}})
        if where == 'sqlite':
            said = self.sql(where, f"INSERT INTO milestones VALUES ('{id}', '{data}', datetime('now'), datetime('now')) "
                                   'ON CONFLICT (id) DO UPDATE SET data = excluded.data, updated_at = excluded.updated_at')
        else:
            said = self.sql(where, f'INSERT INTO "{self.schema}".milestones (id, data) VALUES (\'{id}\', \'{data}\') '
                                   'ON CONFLICT (id) DO UPDATE SET data = excluded.data, updated_at = now()')
        return said == 1

    def add(self, where, id, draft, new):
        """Adds what is new to what stands there, in one step: two who do so never overwrite each other."""
        if where in FILES:
            path = self.path('active', id + '.yaml')
            # Without O_CREAT: what is not there is not made anew.
            number = os.open(path, os.O_WRONLY | os.O_APPEND)
            with open(number, 'a') as file:
                file.write(new)
            return True
        token = draft.values[-1]
        if where == 'sqlite':
            return self.sql(where, f"UPDATE milestones SET data = json_set(data, '$.t{token}', 1) WHERE id = '{id}'") == 1
        return self.sql(where, f'UPDATE "{self.schema}".milestones SET data = data || \'{{"t{token}": 1}}\' WHERE id = \'{id}\'') == 1

    # --- those who write, each a thread

    def writer(self, id, habit, dice):
        draft = Draft()
        while self.goes_on():
            where = self.where()
            if habit == 'late adapter':
                time.sleep(dice.choice([0, 0.1, 0.5, 2]))
            way = HABITS[habit]
            is_row = where in ROWS and habit != 'person'
            is_put = where in ROWS and not is_row and (not self.spec['swept'] or dice.random() < 0.6)

            def act(after, new):
                if is_row:
                    return self.row(where, id, after)
                if is_put:
                    return self.put(id, after.document(id))
                return way(self, self.path('active', id + '.yaml'), after.document(id), new, dice)
            draft = self.attempt(id, f'{habit}, {"put, " * is_put}{where}', draft, edit_of(dice, is_row, way), act)
            # A person's text stands while the stores change: what is in it goes with them.
            self.rest(dice, *((0.1, 0.8) if habit == 'person' else ()))

    def put(self, id, text):
        """A person's `put` in place of what is there."""
        shown = self.run([self.binary, 'milestone', 'show', id, '--json'])
        match = ['--if-match', json.loads(shown.stdout)['digest']] if shown.returncode == 0 else []
        self.run([self.binary, 'milestone', 'put', id, *match], input=text).check_returncode()

    def twin(self, id, stale, dice):
        """One of two: one writes where the marker says, the other where it said before."""
        last, before = self.where(), None
        while self.goes_on():
            now = self.where()
            # From file to hybrid and back, the files are the same.
            if SIDE[now] != SIDE[last]:
                before = last
            last = now
            where = before if stale else now
            if where is not None and not (stale and SIDE[where] == SIDE[now]):
                self.attempt(id, f'{"stale twin" if stale else "twin"}, {where}', Draft(), edit_of(dice, where in ROWS, append),
                             lambda after, new: self.add(where, id, after, new))
            # A store that is written to all the time cannot be retired.
            self.rest(dice, *((2, 6) if stale and self.spec['retiring'] else (0.05, 0.3)))

    def finisher(self, id, dice):
        """Moves its milestone to the archive and back, with and without an edit, where the marker says or said."""
        active = self.path('active', id + '.yaml')
        finished = self.path('completed', dice.choice([f'{id}.yaml', f'{id}/{id}.yaml', f'{id}/definition.yaml', f'2026/{id}.yaml']))
        draft = Draft()
        while self.goes_on():
            where, what = self.where(), dice.choice(FINISHING)
            time.sleep(dice.choice([0, 0, 0.3, 2]))
            # Somebody goes on with the files, though they are an old store.
            late = where in ROWS and self.spec['swept'] and dice.random() < 0.4

            def write(path, status=None):
                way = dice.choice([in_place, mv])
                return self.attempt(id, f'{what} ({os.path.relpath(path, self.path())}), {where}', draft, edit_of(dice, False, way),
                                    lambda after, new: way(self, path, after.document(id, status), new, dice))
            if where in ROWS and not late:
                status = 'archived' if 'finish' in what else 'active'
                draft = self.attempt(id, f'{status}, {where}', draft, 'row', lambda after, new: self.row(where, id, after, status))
            else:
                draft = self.finish(id, what, active, finished, write) or draft
            self.rest(dice)

    def finish(self, id, what, active, finished, write):
        begin, written = time.monotonic(), None
        if what in ('edit, finish', 'edit'):
            written = write(active)
        if what == 'finish in place':
            written = write(active, 'archived')
        if 'finish' in what or 'back' in what:
            paths = (finished, active) if 'back' in what else (active, finished)
            # Where it lies there already in another layout (milescale has moved it), nobody puts a second one beside it.
            is_there = 'back' not in what and id in verify.archive_places(self.root)
            moved = what != 'finish in place' and not is_there and move_over_nothing(*paths)
            self.note(begin, id, 0, moved, f'mv {os.path.relpath(paths[1], self.path())}')
            if moved and what.endswith(', edit'):
                written = write(paths[1])
        return written

    def verbs(self, dice):
        """milescale's own verbs: they compare and set."""
        while self.goes_on():
            id = dice.choice(self.spec['strict'])
            shown = self.run([self.binary, 'milestone', 'show', id, '--json'])
            if shown.returncode != 0:
                self.note(time.monotonic(), id, 0, False, f'show: {shown.stderr.strip()[-200:]}')
                time.sleep(0.2)
                continue
            shown, begin = json.loads(shown.stdout), time.monotonic()
            archived = shown['status'] == 'archived' or '/completed/' in shown['place']
            verb = 'put'
            self.lull()
            if self.spec['archiving'] and dice.random() < (0.7 if archived else 0.2):
                verb = 'unarchive' if archived else 'archive'
            edit, number, before = dice.choice(EDITS) if verb == 'put' else '', self.token() if verb == 'put' else 0, shown['text']
            new, taken_out = added(Draft(), Draft().edit(edit, number))[0], []
            if 'no comments' in edit:
                taken_out, before = [int(it) for it in re.findall(r'# c(\d+)$', before, re.M)], uncommented(before)
            said = self.verb(verb, id, shown['digest'], dice, **({'input': new + before if edit == 'comment' else before + new} if number else {}))
            why = f': {said.stderr.strip()[-200:]}' if said.returncode else ''
            self.note(begin, id, number * ('value' in edit), said.returncode == 0, f'{verb} of {shown["digest"][:8]} in {shown["place"]} ({edit}){why}',
                      number * ('# c' in new), taken_out)
            time.sleep(dice.uniform(0, 0.1 * min(self.spec['pace'], 2)))

    def verb(self, verb, id, digest, dice, **more):
        """Calls a verb; now and then it is killed, and somebody takes its lock away."""
        arguments = [self.binary, 'milestone', verb, id, '--if-match', digest]
        if dice.random() >= 0.05:
            return self.run(arguments, **more)
        try:
            return self.run(arguments, timeout=dice.uniform(0, 0.2), **more)
        except subprocess.TimeoutExpired:
            shutil.rmtree(self.path('locks', id + '.lock'), ignore_errors=True)
            return subprocess.CompletedProcess(arguments, -9, '', 'killed')

    def task(self, id, habit):
        dice = random.Random(f'{self.spec["seed"]} {id} {habit}')
        try:
            if habit in ('twin', 'stale twin'):
                self.twin(id, habit == 'stale twin', dice)
            elif habit == 'verbs':
                self.verbs(dice)
            elif habit == 'completed':
                self.finisher(id, dice)
            else:
                self.writer(id, habit, dice)
        except Exception as error:
            self.note(time.monotonic(), id, 0, False, f'trouble {habit}: {error!r}')


def edit_of(dice, is_row, way):
    """What the next write changes. Who appends takes nothing out."""
    edit = 'row' if is_row else dice.choice(EDITS)
    return 'value' if way in APPENDING and 'no comments' in edit else edit


def main():
    hand = Hand(json.loads(sys.argv[1]))
    threads = [threading.Thread(target=hand.task, args=task) for task in hand.spec['tasks']]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == '__main__':
    main()
