#!/usr/bin/env python3
"""A process that writes: some milestones, each with its habit, from one account and one place (a container's, perhaps).

    hand.py SPEC        SPEC is JSON: root, url, schema, binary, tasks, strict, first, end, pace, lulls, seed, retiring, archiving

Prints a line a write: [begin, end, id, token, whether it counts, what]. A write adds a token, a key that no other write has, and counts where
it ended without an error.
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


def document(id, tokens, status=None):
    return f'id: {id}\ntitle: "T {id}"\n' + (f'status: {status}\n' if status else '') + ''.join(f't{token}: 1\n' for token in tokens)


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


# --- habits: each writes a text to a path, by its own way


def in_place(hand, path, text, token, dice):
    half = dice.randrange(len(text))
    with open(path, 'w') as file:
        file.write(text[:half])
        file.flush()
        time.sleep(dice.choice([0, 0, 0.02, 0.3]))
        file.write(text[half:])


def append(hand, path, text, token, dice):
    if not os.path.exists(path):
        return in_place(hand, path, text, token, dice)
    with open(path, 'a') as file:
        file.write(f't{token}: 1\n')


def holder(hand, path, text, token, dice):
    """Keeps the file open for a while before it writes."""
    if not os.path.exists(path):
        return in_place(hand, path, text, token, dice)
    with open(path, 'a') as file:
        time.sleep(dice.choice([0.1, 0.5, 1, 3, 6]))
        file.write(f't{token}: 1\n')


def mv(hand, path, text, token, dice):
    with open(path + '.new', 'w') as file:
        file.write(text)
    os.rename(path + '.new', path)


def editor(hand, path, text, token, dice):
    if os.path.exists(path):
        os.rename(path, path + '~')
    with open(path, 'w') as file:
        file.write(text)


def again(hand, path, text, token, dice):
    if os.path.exists(path):
        os.unlink(path)
    time.sleep(dice.uniform(0, 0.2))
    with open(path, 'w') as file:
        file.write(text)


def stash(hand, path, text, token, dice):
    """Writes, stashes it with git, and brings it back."""
    in_place(hand, path, text, token, dice)
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
            return f't{token}: 1' in file.read()


def locked(hand, path, text, token, dice):
    """As adapters do that take the courtesy of a lock; it is left behind now and then."""
    lock = os.path.join(hand.root, '.milestones', 'locks', os.path.basename(path)[:-5] + '.lock')
    try:
        os.mkdir(lock)
        for name, said in (('pid', str(os.getpid())), ('timestamp', time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime()))):
            with open(os.path.join(lock, name), 'w') as file:
                file.write(said + '\n')
    except FileExistsError:
        pass
    mv(hand, path, text, token, dice)
    if dice.random() < 0.8:
        shutil.rmtree(lock, ignore_errors=True)


HABITS = {'in place': in_place, 'mv': mv, 'editor': editor, 'append': append, 'adapter': in_place, 'late adapter': in_place,
          'again': again, 'stash': stash, 'holder': holder, 'locked': locked}

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

    def note(self, begin, id, token, done, what):
        with self.lock:
            print(json.dumps([round(begin, 4), round(time.monotonic(), 4), id, token, bool(done), what]), flush=True)
        return done

    def attempt(self, id, what, act):
        """A write, noted with what became of it. Its token, where it counts."""
        self.lull()
        token, begin = self.token(), time.monotonic()
        try:
            done = act(token)
        except (OSError, sqlite3.Error, subprocess.CalledProcessError) as error:
            # Its own tool refused it.
            done, what = False, f'{what}: {error}'
        self.note(begin, id, token, done is not False, what)
        return [token] if done is not False else []

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

    def row(self, where, id, tokens, status=None):
        data = json.dumps({'id': id, 'title': f'T {id}', **({'status': status} if status else {}), **{f't{token}': 1 for token in tokens}})
        if where == 'sqlite':
            said = self.sql(where, f"INSERT INTO milestones VALUES ('{id}', '{data}', datetime('now'), datetime('now')) "
                                   'ON CONFLICT (id) DO UPDATE SET data = excluded.data, updated_at = excluded.updated_at')
        else:
            said = self.sql(where, f'INSERT INTO "{self.schema}".milestones (id, data) VALUES (\'{id}\', \'{data}\') '
                                   'ON CONFLICT (id) DO UPDATE SET data = excluded.data, updated_at = now()')
        return said == 1

    def add(self, where, id, token):
        """Adds a token to what stands there, in one step: two who do so never overwrite each other."""
        if where in FILES:
            path = self.path('active', id + '.yaml')
            # Without O_CREAT: what is not there is not made anew.
            number = os.open(path, os.O_WRONLY | os.O_APPEND)
            with open(number, 'a') as file:
                file.write(f't{token}: 1\n')
            return True
        if where == 'sqlite':
            return self.sql(where, f"UPDATE milestones SET data = json_set(data, '$.t{token}', 1) WHERE id = '{id}'") == 1
        return self.sql(where, f'UPDATE "{self.schema}".milestones SET data = data || \'{{"t{token}": 1}}\' WHERE id = \'{id}\'') == 1

    # --- those who write, each a thread

    def writer(self, id, habit, dice):
        tokens = []
        while self.goes_on():
            where = self.where()
            if habit == 'late adapter':
                time.sleep(dice.choice([0, 0.1, 0.5, 2]))

            def act(token):
                if where in ROWS:
                    return self.row(where, id, tokens + [token])
                return HABITS[habit](self, self.path('active', id + '.yaml'), document(id, tokens + [token]), token, dice)
            tokens += self.attempt(id, f'{habit}, {where}', act)
            self.rest(dice)

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
                self.attempt(id, f'{"stale twin" if stale else "twin"}, {where}', lambda token: self.add(where, id, token))
            # A store that is written to all the time cannot be retired.
            self.rest(dice, *((2, 6) if stale and self.spec['retiring'] else (0.05, 0.3)))

    def finisher(self, id, dice):
        """Moves its milestone to the archive and back, with and without an edit, where the marker says or said."""
        active = self.path('active', id + '.yaml')
        finished = self.path('completed', dice.choice([f'{id}.yaml', f'{id}/{id}.yaml', f'{id}/definition.yaml', f'2026/{id}.yaml']))
        tokens = []
        while self.goes_on():
            where, what = self.where(), dice.choice(FINISHING)
            time.sleep(dice.choice([0, 0, 0.3, 2]))
            # Somebody goes on with the files, though they are an old store.
            late = where in ROWS and dice.random() < 0.4

            def write(path, status=None):
                way = dice.choice([in_place, mv])
                return self.attempt(id, f'{what} ({os.path.relpath(path, self.path())}), {where}', lambda token: way(
                    self, path, document(id, tokens + [token], status), token, dice))
            if where in ROWS and not late:
                status = 'archived' if 'finish' in what else 'active'
                tokens += self.attempt(id, f'{status}, {where}', lambda token: self.row(where, id, tokens + [token], status))
            else:
                tokens += self.finish(id, what, active, finished, write)
            self.rest(dice)

    def finish(self, id, what, active, finished, write):
        begin, written = time.monotonic(), []
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
            token = self.token() if verb == 'put' else 0
            more = {'input': shown['text'] + f't{token}: 1\n'} if token else {}
            said = self.verb(verb, id, shown['digest'], dice, **more)
            why = f': {said.stderr.strip()[-200:]}' if said.returncode else ''
            self.note(begin, id, token, said.returncode == 0, f'{verb} of {shown["digest"][:8]} in {shown["place"]}{why}')
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


def main():
    hand = Hand(json.loads(sys.argv[1]))
    threads = [threading.Thread(target=hand.task, args=task) for task in hand.spec['tasks']]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == '__main__':
    main()
