"""Workspaces of the harness `meet`: how each starting state is made, and a ledger of every write to it.

A content is known by its tokens: keys `t17: 1` that no other write has. A write that is based on what stood there has its
tokens too, so that an ancestor is a subset.
"""
import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import verify  # noqa: E402

COMMENTED = re.compile(r'^#.*\bt\d+: 1', re.M)
TOKEN = re.compile(r'\bt(\d+)\b\\?["\']?\s*:\s*1\b')
IDENTITY = re.compile(r'(?:^|[{,\n\ufeff])\s*\\?["\']?id\\?["\']?\s*:\s*\\?["\']?([A-Za-z][A-Za-z_.-]*\d+)', re.M)
IDS = ['m1', 'm2', 'm3', 'm4']
# Large ones in front of them, of which a dozen is more than a page of SQLite has room for.
LARGE = [f'k{number}' for number in range(10, 22)]
# More than a page of small ones, whose order depends on who sorts.
MANY = [f'{"kK"[number % 2]}{"-_."[number % 3]}a{number}' for number in range(10, 70)]
# Texts that are easily tidied up: line ends, a mark at the beginning, no end of the last line, numbers, a block, signs.
ODD = {'o1': lambda text: text.replace('\n', '\r\n'), 'o2': lambda text: '\ufeff' + text, 'o3': lambda text: text.rstrip('\n'),
       'o4': lambda text: text + 'big: 123456789012345678901234567890\nsmall: 1.0\nzero: -0.0\nword: "no"\nempty:\n',
       'o5': lambda text: text + 'block: |+\n  one\n\n  two \n\nsigns: "\U0001f600 \u00e9 e\u0301 \\u0007"\n', 'o6': lambda text: '---\n' + text}
ENGINES = ('sqlite', 'postgresql')
# Where a milestone lies in completed/: as milescale puts it there, and as adapters do.
LAYOUTS = {'': '{0}.yaml', 'folder': '{0}/{0}.yaml', 'definition': '{0}/definition.yaml', 'year': '2025/{0}.yaml'}
SIDE = {'file': 'files', 'hybrid': 'files', 'sqlite': 'sqlite', 'postgresql': 'postgresql'}


class Row(str):
    """The value of a row, with the text that is kept of it, which has its comments and is of this value."""

    kept = ''


def tokens(text):
    return frozenset(int(found) for found in TOKEN.findall((text or '') + getattr(text, 'kept', '')))


def whole(text):
    """A content, with the text that is kept of it where it is a row's."""
    return str(text) + '\n' + getattr(text, 'kept', '')


def with_comment(text, token):
    """A text with a comment more, which has a token as a value has: who drops it loses what somebody wrote."""
    return (text if text.endswith('\n') or not text else text + '\n') + f'# t{token}: 1\n'


def document(id, token, status='active', pad=0):
    more = f'plan: "{"and so on, " * (pad // 11)}"\n' if pad else ''
    return (f'# a note on {id}, by hand\nid: {id}\ntitle:   "T {id}"   # said\nstatus: {status}\nhours: 1.50\n'
            f'tags: [one,  "two three"]\n{more}t{token}: 1\n')


def value(id, token, status='active', pad=0):
    more = {'plan': 'and so on, ' * (pad // 11)} if pad else {}
    return {'id': id, 'title': f'T {id}', 'status': status, 'hours': 1.5, 'tags': ['one', 'two three'], **more, f't{token}': 1}


class World:
    """One workspace, with what was written to it."""

    is_over, children, lock = False, set(), threading.Lock()

    @classmethod
    def end_all(cls):
        """Ends what runs in any workspace, and lets nothing begin there."""
        with cls.lock:
            cls.is_over = True
            for child in list(cls.children):
                child.kill()

    def __init__(self, binary, root, url='', schema='', shim=''):
        self.binary, self.root, self.url, self.schema, self.shim = binary, root, url, schema, shim
        self.direct = url               # the server itself, where a proxy stands between it and milescale
        self.events, self.seq, self.next_token = [], 0, 0
        self.first = {}                 # id -> its text before the first move
        self.journal = root + '.journal'
        self.facts = {}
        self.said = []                  # (arguments, exit status, last lines)
        self.environment = {key: text for key, text in os.environ.items()
                            if not key.startswith(('DATABASE_', 'PG', 'FAULT', 'LD_PRELOAD'))}
        self.environment.update(MILESCALE_USER='tester', GIT_CONFIG_GLOBAL='/dev/null', HOME=os.path.dirname(root),
                                MILESCALE_TRUST=root, MILESCALE_MUTANT_CALL=root, LC_ALL='C.UTF-8')

    # --- its files

    def path(self, *parts):
        return os.path.join(self.root, '.milestones', *parts)

    def read(self, *parts):
        return verify.read(self.path(*parts))

    def write(self, path, text):
        path = self.path(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w', encoding='utf-8', newline='') as file:
            file.write(text)

    def configure(self, engine, more=''):
        if self.facts.get('unconfigured'):
            return
        self.write('config/storage-config.yaml',
                   f'# kept by hand\nstorage:\n  database:\n    type: {engine}  # the engine\n    url: "{self.url}"\n'
                   f'    schema: "{self.schema}"\n{more}')

    def addressed(self):
        """Where there is no configuration, the environment says where the server is, and a schema is there."""
        if self.facts.get('unconfigured') and self.url:
            verify.psql(self.direct, f'CREATE SCHEMA IF NOT EXISTS "{self.schema}"')
            self.environment['DATABASE_URL'] = f'{self.url}?options=-csearch_path%3D{self.schema}'

    def named(self):
        word = (self.read('config/storage-backend.txt') or 'file').strip()
        if word != 'database':
            return word or 'file'
        found = re.search(r'(?:^|\{)\s*type:\s*"?(\w+)', self.read('config/storage-config.yaml') or '', re.M)
        return found.group(1) if found else 'sqlite'

    def files(self):
        """id -> path of the files in active/."""
        found = {}
        for folder, folders, names in os.walk(self.path('active')):
            folders[:] = [name for name in folders if not name.startswith('.')]
            for name in names:
                if name.endswith('.yaml') and not name.startswith('.'):
                    found[name[:-5]] = os.path.join(folder, name)
        return found

    def rows(self, store):
        if store == 'sqlite':
            if not os.path.exists(self.path('enterprise.db')):
                return {}
            found = list(verify.in_sqlite(self.path('enterprise.db')))
        else:
            found = self.asked()
        rows = {id: Row(content) for table, id, content in found if table == 'milestones'}
        for id, (_, text) in verify.kept_texts(found).items():
            # Only of comments, which no value has: where another program changed the value, they went with it.
            if text is not None and COMMENTED.search(text):
                rows[id].kept = text
        return rows

    def asked(self):
        """(table, id, content) of the rows of PostgreSQL and of the texts that are kept of them."""
        found = []
        for table, column in (('milestones', 'data::text'), ('milescale_texts', "convert_from(text, 'UTF8')")):
            try:
                said = verify.psql(self.direct, f'SELECT json_build_array(id, {column}) FROM "{self.schema}".{table}')
            except subprocess.CalledProcessError:
                break       # there is none
            found += [(table, *json.loads(line)) for line in said.splitlines()]
        return found

    def current(self, store=None):
        """id -> (text, whether it is archived) in the store in use."""
        store = store or self.named()
        # The archive is completed/ and the rows whose status is archived, on every backend alike.
        found = {id: (text, True) for id, text in verify.archive(self.root).items()}
        if SIDE[store] == 'files':
            for id, path in self.files().items():
                text = verify.read(path)
                found[id] = (text, bool(re.search(r'^status: archived', text or '', re.M)))
        else:
            for id, data in self.rows(store).items():
                found[id] = (data, bool(re.search(r'"status":\s*"archived"', data)))
        return found

    # --- its ledger

    def token(self):
        self.next_token += 1
        return self.next_token

    def note(self, who, id, kind, wrote, saw='', place='', acked='yes', **more):
        self.seq += 1
        event = {'seq': self.seq, 'who': who, 'id': id, 'kind': kind, 'place': place, 'acked': acked, 'text': wrote,
                 'tokens': None if wrote is None or kind == 'marker' else tokens(wrote), 'saw': tokens(saw), 'named': self.named(),
                 # What stood there itself: who writes a row replaces the text that is kept of it too, and that is another content.
                 'replaced': tokens(str(saw)), 'hidden': tokens(getattr(saw, 'kept', '')), 'comments': tokens('\n'.join(COMMENTED.findall(wrote or ''))), **more}
        self.events.append(event)
        return event

    @contextlib.contextmanager
    def child(self, arguments, fault, stdin, stdout):
        """Milescale as it runs, with a fault of the shim."""
        environment = dict(self.environment)
        if fault:
            environment.update({'LD_PRELOAD': self.shim, 'FAULT_PATH': '/.milestones/', **fault})
        with World.lock:
            if World.is_over:
                raise RuntimeError('it is over')
            child = subprocess.Popen([self.binary, *arguments], cwd=self.root, env=environment, text=True, errors='replace',
                                     stdin=stdin, stdout=stdout, stderr=subprocess.PIPE)
            World.children.add(child)
        try:
            yield child
        finally:
            World.children.discard(child)

    @staticmethod
    def ended(child, timeout, input=None):
        """Exit status, or that it had to be killed, and its words."""
        try:
            out, err = child.communicate(input, timeout=timeout)
            return child.returncode, out, err
        except subprocess.TimeoutExpired:
            child.kill()
            return 'hangs', *child.communicate()

    def run(self, arguments, input=None, fault=None, timeout=40):
        with self.child(arguments, fault, subprocess.PIPE, subprocess.PIPE) as child:
            code, out, err = self.ended(child, timeout, input or '')
        self.said.append((' '.join(arguments), code, err.strip().splitlines()[-3:]))
        return code, out, err

    def must(self, *arguments, input=None):
        code, out, err = self.run(arguments, input)
        assert code == 0, (self.root, arguments, code, out, err)
        return out

    def move_arguments(self, to):
        return ['migrate', 'database', '--engine', to, '--yes'] if to in ENGINES else ['migrate', to, '--yes']

    def shown(self, id):
        code, out, _ = self.run(['milestone', 'show', id, '--json'])
        return json.loads(out) if code == 0 else None

    def text_to_put(self, how, id, shown):
        """What is put in place of what `show` gives: its text with a token more, its text with nothing but a comment more (`note`), the
        values of before the first move with a comment that is new (`back`), its values alone (`plain`)."""
        if not shown and how in ('plain', 'note'):
            return document(id, self.token())       # the question was not answered
        if how == 'plain':
            return json.dumps(shown['data'])
        if how in ('note', 'back'):
            return with_comment(self.first[id] if how == 'back' else shown['text'], self.token())
        saw = shown['text'] if shown else ''
        return (saw if saw.endswith('\n') else saw + '\n') + f't{self.token()}: 1\n' if shown else document(id, self.token())

    def put(self, id, text=None, fault=None, how=''):
        """`put` through the verb, in place of what `show` gives (or anew): a text, or one made of what stands there."""
        shown = self.shown(id)
        saw = shown['text'] if shown else ''
        if text is None:
            text = self.text_to_put(how, id, shown)
        elif text == saw:
            return None
        match = ['--if-match', shown['digest']] if shown else []
        event = self.note('own', id, 'write', text, saw, place='verb', acked='maybe')
        code, _, err = self.run(['milestone', 'put', id, *match], input=text, fault=fault)
        event['acked'] = self.answer(code, err)
        return event

    def archive(self, id, word='archive', fault=None):
        """`archive` or `unarchive` through the verb. What it answered."""
        text = self.current().get(id, ('', False))[0]
        event = self.note('own', id, word, text, text, place='verb', acked='maybe')
        event['text'] = None
        answer = self.run(['milestone', word, id], fault=fault)
        event['acked'] = self.answer(answer[0], answer[2])
        return answer

    def resolve(self, name, id, how, fault=None):
        """A person decides a conflict, who has seen both contents. What was answered, and the write that it is."""
        before, kept = self.current().get(id, ('', False))[0], verify.kept(self.root)[0][name]
        taken = kept if how == '--take-kept' else before
        event = self.note('own', id, 'write', taken, whole(before) + kept, place='restore', acked='maybe')
        event['text'] = None
        answer = self.run(['conflicts', 'resolve', name, how], fault=fault)
        event['acked'] = 'yes' if answer[0] == 0 else 'maybe'
        return answer, event

    @staticmethod
    def answer(code, err):
        """What an exit status promises."""
        if code == 0:
            return 'yes'
        if code == 1 and not re.search(r'unknown|may (?:have|be)|was written|is written|has been written|in place|is moved (?:aside|there)', err):
            return 'no'
        return 'maybe'

    def foreign(self, id, place, how='', token=None):
        """Another program's write while nothing runs; `comment`: of nothing but a comment, `recall`: of what stood there before the first move
        with a comment that is new, `both`: of a value and of a comment."""
        token = token or self.token()
        if place == 'files':
            path = self.files()[id]
            saw = verify.read(path)
            if how in ('comment', 'recall'):
                text = with_comment(self.first[id] if how == 'recall' else saw, token)
            else:
                text = (saw if saw.endswith('\n') else saw + '\n') + f't{token}: 1\n'
            if how == 'both':
                text = with_comment(text, self.token())
            mode = os.stat(path).st_mode
            with open(path, 'w') as file:
                file.write(text)
            os.chmod(path, mode | 0o200)
        else:
            saw = self.rows(place)[id]
            text = json.dumps({**json.loads(saw), f't{token}': 1})
            self.write_row(place, id, text)
        self.note('foreign', id, 'write', text, saw, place=place)

    def write_row(self, store, id, data, is_new=False):
        """A row as an adapter writes it, which may be refused: sqlite3.Error, CalledProcessError."""
        if store == 'sqlite':
            statement = ("INSERT INTO milestones (data, id, created_at, updated_at) VALUES (?, ?, datetime('now'), datetime('now'))" if is_new else
                         'UPDATE milestones SET data = ? WHERE id = ?')
            with contextlib.closing(sqlite3.connect(self.path('enterprise.db'))) as connection:
                connection.execute(statement, (data, id))
                connection.commit()
            return
        table = f'"{self.schema}".milestones'
        verify.psql(self.direct, f"INSERT INTO {table} (id, data) VALUES ('{id}', '{data}')" if is_new else
                    f"UPDATE {table} SET data = '{data}' WHERE id = '{id}'")

    # --- starting states

    def build(self, state):
        """`STORE[<OLD[<OLDER]][+WORD…]`: born in the last of the stores, then moved from store to store."""
        chain, *more = state.split('+')
        chain = chain.split('<')[::-1]
        self.facts['unconfigured'] = 'unconfigured' in more
        self.addressed()
        os.makedirs(self.path('active'))
        for folder in ('config', 'completed', 'logs', 'locks'):
            os.makedirs(self.path(folder))
        if self.url:
            verify.psql(self.direct, f'CREATE SCHEMA IF NOT EXISTS "{self.schema}"')
        engine = next((store for store in chain if store in ENGINES), 'sqlite')
        lines = '  migration: {files_after: retire}\n' if 'retire' in more else ''
        self.configure(engine, lines + ('  performance: {query_timeout: 1}\n' if self.url != self.direct else ''))
        self.born(chain[0], more)
        for store in chain[1:]:
            self.must(*self.move_arguments(store))
            is_level = 'level' in more or 'equal' in more
            for id in ('m1', 'm2') if not is_level else ():
                assert self.put(id)['acked'] == 'yes'
            if 'new' in more:
                assert self.put('n5')['acked'] == 'yes'
            if not is_level:
                self.foreign('m3', SIDE[store])
            if 'meanwhile' in more and store != chain[-1]:
                self.meanwhile(SIDE[chain[0]])
        if 'noted' in more and 'equal' not in more:
            for id in ('m1', 'm2'):
                assert self.put(id, how='note')['acked'] == 'yes'
        if 'lost' in more:
            # What a store of an earlier time holds is there still, its bases too, and nobody knows any more that it was one.
            for name in ('migration.json', 'base.db'):
                os.unlink(self.path('.milescale', name))
        for store in ENGINES:
            if f'filled {store}' in more:
                self.filled(store)
        self.left = chain[-2] if len(chain) > 1 else ''
        old = SIDE.get(self.left, '')
        self.since(more, chain[-1], old)
        if 'pending' in more:
            self.foreign('m1', old)
            self.foreign('m4', old)
        self.commented(more, SIDE[chain[-1]], old)
        if 'conflict' in more:
            self.foreign('m1', old)
            self.must('import')
        if 'batch' in more:
            for id in IDS + ['b1', 'b2', 'b3']:
                self.foreign(id, old)
        for word in more:
            if word.startswith('died'):
                self.died(*word.split(' '), ['--adopt', '--source-wins'] if self.facts.get('filled') else [])

    def meanwhile(self, side):
        """The store that was the first is edited, and that is brought over; one of these goes on in the store in use."""
        for id in ('m2', 'm4'):
            self.foreign(id, side)
        self.must('import')
        assert self.put('m4')['acked'] == 'yes'

    def since(self, more, now, old):
        """States in which something is there on one side alone, or in a place of its own."""
        if 'taken back' in more:
            # What was edited is in a file as it was before the first move: an earlier content, and no edit.
            text = self.first['m4']
            path = self.files()['m4']
            os.chmod(path, 0o644)
            self.note('foreign', 'm4', 'write', text, verify.read(path), place='files', earlier=True)
            with open(path, 'w') as file:
                file.write(text)
        if 'lacking' in more:
            # The old side has one no more, and an older one of the same id may lie in the archive. The store in use has it: nobody deleted that.
            os.unlink(self.files()['m2']) if old == 'files' else self.remove_row(old, 'm2')
        if 'fresh' in more:
            # The old side has one that is new.
            token = self.token()
            text = document('n8', token) if old == 'files' else json.dumps(value('n8', token))
            self.write('active/n8.yaml', text) if old == 'files' else self.write_row(old, 'n8', text, is_new=True)
            self.note('foreign', 'n8', 'write', text, place=old)
        if 'gone' in more:
            # What a backup has, and the store in use no more.
            text = self.current()['m2'][0]
            os.unlink(self.files()['m2']) if SIDE[now] == 'files' else self.remove_row(now, 'm2')
            self.note('foreign', 'm2', 'delete', None, text, place=SIDE[now])
        if 'retired' in more:
            self.must('retire', old, '--yes')
            self.facts['retires'] = True
        if 'late' in more:
            # Programs that had them open write on: into one in whose place another is, and into one that is gone.
            for id in ('m4', 'm1'):
                path = next(os.path.join(where, name) for where, _, names in os.walk(self.path('.milescale', 'retired')) for name in names if name == f'{id}.yaml')
                saw = verify.read(path)
                text = saw + f't{self.token()}: 1\n'
                os.chmod(path, 0o644)
                with open(path, 'w') as file:
                    file.write(text)
                self.note('foreign', id, 'write', text, saw, place='files', held=True)
        if 'again' in more:
            # Two files of one milestone, of one side: which of them another one is based on, nobody can tell.
            self.facts['unsure'] = True
            token = self.token()
            self.write('active/m4.yaml', document('m4', token))
            self.note('foreign', 'm4', 'write', document('m4', token), place='files', absent=True)

    def remove_row(self, store, id):
        if store == 'postgresql':
            verify.psql(self.direct, f"DELETE FROM \"{self.schema}\".milestones WHERE id = '{id}'")
            return
        with contextlib.closing(sqlite3.connect(self.path('enterprise.db'))) as connection:
            connection.execute('DELETE FROM milestones WHERE id = ?', (id,))
            connection.commit()

    def commented(self, more, now, old):
        """States in which comments stand alone on one side."""
        if 'alike' in more:
            # Both sides get the same values, and the file a comment with them.
            token, self.facts['alike'] = self.token(), 'm4'
            self.foreign('m4', now, token=token)
            self.foreign('m4', old, 'both', token)
        if 'reverted' in more:
            # The old side has values that it had before, of one with other comments only, and comments that nobody has read.
            self.foreign('m4', old)
            self.foreign('m3', old, 'comment')
            self.must('import')
            self.foreign('m4', old, 'recall')
            self.foreign('m3', old, 'recall')
        if 'untexted' in more:
            # A row as an adapter makes it: nothing is kept of its text, and the file's values are its own.
            data = str(self.rows(now)['m4'])
            statement = "DELETE FROM {}milescale_texts WHERE id = 'm4'"
            if now == 'sqlite':
                with contextlib.closing(sqlite3.connect(self.path('enterprise.db'))) as connection:
                    connection.execute(statement.format(''))
                    connection.commit()
            else:
                verify.psql(self.direct, statement.format(f'"{self.schema}".'))
            for event in self.events:
                if event['id'] == 'm4':
                    event['standing'] = True
            self.note('foreign', 'm4', 'write', data, place=now)
        if 'archived' in more:
            text = self.current()['m4'][0]
            self.must('milestone', 'archive', 'm4')
            self.note('own', 'm4', 'archive', text, text, place='verb')['text'] = None
        if 'crossed' in more:
            # What the other side has then, no base knows.
            for id in ('m1', 'm2'):
                self.foreign(id, old, 'both')
        if 'followed' in more:
            self.name(self.left)
            self.must('check')
            assert self.followed(), self.root

    def name(self, store):
        """Another store is named by hand, some time ago."""
        self.facts['followed'] = True
        self.note('foreign', 'm1', 'marker', store, place='config')
        self.write('config/storage-backend.txt', ('database' if store in ENGINES else store) + '\n')
        before = time.time() - 10
        os.utime(self.path('config/storage-backend.txt'), (before, before))

    def followed(self):
        """Whether milescale has followed what was named by hand last."""
        told = [event for event in verify.events(self.root) if event['event'] == 'backend_changed']
        return bool(told) and told[-1]['details'].get('adopted') is True

    def died(self, when, to, more):
        """A move that dies at the switch: before it takes effect, or (`died-late`) right after it. Nobody has recovered yet."""
        self.facts['archive'] = verify.archive(self.root)
        switch = 'config' if {to, self.named()} == set(ENGINES) else 'backend'
        fault = {'FAULT': f'rename:1:{"killafter" if when == "died-late" else "kill"}', 'FAULT_PATH': f'config/storage-{switch}.'}
        code, _, err = self.run([*self.move_arguments(to), *more], fault=fault)
        assert code == -signal.SIGKILL, (self.root, to, code, err)
        shutil.rmtree(self.path('locks'), ignore_errors=True)
        self.facts['died'] = SIDE[to]

    def born(self, store, more):
        extra = ['b1', 'b2', 'b3'] if 'batch' in more else []
        extra += (LARGE if 'large' in more else []) + (MANY if 'many' in more else []) + (list(ODD) if 'odd' in more else [])
        self.write('config/storage-backend.txt', ('database' if store in ENGINES else 'file') + '\n')
        # A comment of each text has a token too.
        noted = (lambda text: with_comment(text, self.token())) if 'noted' in more else (lambda text: text)
        laid, older = ([word.partition(' ')[2] for word in more if word.split(' ')[0] == wanted] for wanted in ('laid', 'older'))
        archived = noted(document('x1', self.token(), 'archived').replace('# a note', '# finished long ago: a note'))
        if SIDE[store] == 'files' or 'both' in more:
            self.write(f'completed/{LAYOUTS[laid[0] if laid else ""].format("x1")}', archived)
            self.note('foreign', 'x1', 'archive', archived, place='files')
        if SIDE[store] != 'files':
            # A row has no layout, and no comments; nor is it asked of a file beside it that its layout stays.
            for event in self.events:
                event['text'] = None
            self.note('foreign', 'x1', 'archive', json.dumps(value('x1', min(tokens(archived)), 'archived')), place=store)['text'] = None
        if older:
            # An older milestone of an id that is in use.
            text = document('m2', self.token(), 'archived').replace('# a note', '# an older one: a note')
            self.write(f'completed/{LAYOUTS[older[0]].format("m2")}', text)
            self.note('foreign', 'm2', 'archive', text, place=SIDE[store])
            self.facts['older'] = 'm2'
        if 'beside' in more:
            # Another milestone of an id whose row is archived.
            self.facts['beside'] = 'x1'
            text = document('x1', self.token(), 'archived').replace('T x1', 'another x1')
            self.write(f'completed/{LAYOUTS[laid[0] if laid else ""].format("x1")}', text)
            self.note('foreign', 'x1', 'archive', text, place='files')
        rows = {}
        for id in IDS + extra:
            token = self.token()
            if SIDE[store] == 'files':
                self.first[id] = ODD.get(id, lambda text: text)(noted(document(id, token, pad=100_000 * (id in LARGE))))
                self.write(f'active/{id}.yaml', self.first[id])
                self.note('foreign', id, 'write', self.first[id], place='files')
            else:
                rows[id] = json.dumps(value(id, token, pad=100_000 * (id in LARGE)))
                self.note('foreign', id, 'write', rows[id], place=store)
                self.first[id] = rows[id]
        if rows:
            rows['x1'] = json.dumps(value('x1', min(tokens(archived)), 'archived'))
        if store == 'sqlite':
            connection = sqlite3.connect(self.path('enterprise.db'))
            connection.execute('CREATE TABLE milestones (id TEXT PRIMARY KEY, data TEXT, created_at TEXT, updated_at TEXT)')
            connection.executemany("INSERT INTO milestones VALUES (?, ?, datetime('now'), datetime('now'))", rows.items())
            connection.commit()
            connection.close()
        elif store == 'postgresql':
            sql = (f'CREATE TABLE "{self.schema}".milestones(id TEXT PRIMARY KEY, data JSONB, created_at TIMESTAMP DEFAULT now(), '
                   'updated_at TIMESTAMP DEFAULT now());')
            for id, data in rows.items():
                sql += f"INSERT INTO \"{self.schema}\".milestones (id, data) VALUES ('{id}', '{data}');"
            verify.psql(self.direct, sql)
        elif store == 'hybrid':
            self.must('migrate', 'hybrid', '--yes')

    def filled(self, store):
        """A store that another program has filled: one that is as in files, one that differs, and one that only it has. Or (`lost`) one that
        was a store of this workspace at an earlier time."""
        was = self.rows(store)
        if was:
            # It was a store of this workspace: what it had then is there, or is written over.
            rows = {'m2': {**json.loads(was['m2']), f't{self.token()}': 1}, 'n7': value('n7', self.token())}
            for event in self.events:
                if event['place'] == store:
                    event['target'] = True
        else:
            same = min(next(event['tokens'] for event in self.events if event['id'] == 'm1'))
            rows = {'m1': value('m1', same), 'm2': value('m2', self.token()), 'n7': value('n7', self.token())}
        for id in rows:
            # Where it is not taken over, it stays there. Its row has no layout.
            self.note('foreign', id, 'write', json.dumps(rows[id]), was.get(id, ''), place=store, target=True)
        self.facts['filled'] = True
        rows = {id: json.dumps(data) for id, data in rows.items()}
        if store == 'sqlite':
            with contextlib.closing(sqlite3.connect(self.path('enterprise.db'))) as connection:
                if not was:
                    connection.execute('CREATE TABLE milestones (id TEXT PRIMARY KEY, data TEXT, created_at TEXT, updated_at TEXT)')
                connection.executemany("INSERT INTO milestones VALUES (?, ?, datetime('now'), datetime('now')) "
                                       'ON CONFLICT (id) DO UPDATE SET data = excluded.data', rows.items())
                connection.commit()
            return
        sql = '' if was else (f'CREATE TABLE "{self.schema}".milestones(id TEXT PRIMARY KEY, data JSONB, created_at TIMESTAMP DEFAULT now(), '
                              'updated_at TIMESTAMP DEFAULT now());')
        for id, data in rows.items():
            sql += (f"INSERT INTO \"{self.schema}\".milestones (id, data) VALUES ('{id}', '{data}') "
                    'ON CONFLICT (id) DO UPDATE SET data = excluded.data;')
        verify.psql(self.direct, sql)

    def like(self, other):
        """Takes over the ledger of the workspace that it was copied from."""
        import copy
        self.events, self.seq, self.next_token = copy.deepcopy(other.events), other.seq, other.next_token
        self.first, self.facts = dict(other.first), dict(other.facts)

    def gone(self):
        shutil.rmtree(self.root, ignore_errors=True)
        if self.facts.get('proxy'):
            self.facts['proxy'].close()
        for name in (self.journal, self.root + '.ops', self.root + '.spec', self.root + '.spec2'):
            if os.path.exists(name):
                os.unlink(name)
        if self.url and self.schema:
            try:
                verify.psql(self.direct, f'DROP SCHEMA IF EXISTS "{self.schema}" CASCADE')
            except (OSError, subprocess.CalledProcessError):
                pass        # a connection that was left hanging has it still

    def daemon(self, seconds, fault=None, waits=None):
        """Runs it for some seconds, and for as many more as something is waited for."""
        end, last = (time.monotonic() + seconds * times for times in (1, 2))
        with self.child(['run', '--interval', '1'], fault, subprocess.DEVNULL, subprocess.DEVNULL) as child:
            while time.monotonic() < last and child.poll() is None:
                time.sleep(0.05)
                if time.monotonic() >= end:
                    if not waits or not waits():
                        break
                    end += 1
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
            code, _, err = self.ended(child, 15)
        self.said.append(('run --interval 1', code, err.strip().splitlines()[-3:]))
        return code, '', err
