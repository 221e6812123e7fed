"""The judge of the harness `meet`: contract §8, "What this amounts to", held against a workspace that has come to rest.

It reads stores, archive, conflicts and events by `tests/verify.py`, never by milescale, and knows from the ledger who wrote
what. LOSSES are what may never be; the other kinds are findings as well.
"""
import glob
import json
import os
import re
import sqlite3
import subprocess

from meet_world import ENGINES, IDENTITY, IDS, SIDE, tokens, verify

# How the digest of nothing begins in a name: that of a retired file that had not been dealt with when it was watched.
WATCHED = '-e3b0c44298fc1c14-'
LOSSES = ('lost', 'replaced', 'destroyed', 'altered', 'gone', 'archive', 'configuration', 'silent', 'marker')


# Places whose contents something names: a person finds them by a command that lists them.
NAMED = ('backups/', 'completed/', '.milescale/conflicts/')


def holdings(world, places=('',)):
    """(id, tokens) of every content that is kept anywhere, or in these places."""
    found = set()
    url = world.direct if world.facts.get('postgresql') else ''
    for place, id, content in verify.everything(world.root, url, world.schema):
        if place.startswith('config/') or '.txt' in place or not place.startswith(tuple(places)):
            continue
        if id is None:
            known = IDENTITY.search(content)
            id = known.group(1) if known else None
        if id and tokens(content):
            found.add((id, tokens(content)))
    return found


def surface(world):
    """What a move that fails leaves as it was: names and modes in active/, and the note."""
    found = {}
    for folder, _, names in os.walk(world.path('active')):
        for name in names:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, world.path('active'))] = os.stat(path).st_mode & 0o777
    return found


def conflicts_of(world):
    """Contents that events name, by id: in conflicts/, or, resolved, among what was displaced."""
    there, named = verify.kept(world.root)
    displaced = world.path('.milescale', 'displaced')
    found, nothing = {}, []
    for id, name in named:
        text = there.get(name)
        if text is None:
            # STAMP-DIGEST-SIDE-N.ID.yaml is STAMP-DIGEST-resolved-N.ID.yaml from its resolving on.
            digest = name.split('-')[1] if name.count('-') > 1 else name
            resolved = glob.glob(os.path.join(glob.escape(displaced), f'*-{digest}-resolved-*.{glob.escape(id)}.yaml'))
            text = verify.read(resolved[0]) if resolved else verify.read(os.path.join(displaced, name))
        if text is None:
            nothing.append((id, name))
        else:
            found.setdefault(id, []).append((name, text))
    names = {name for _, name in named}
    return found, nothing, [name for name in there if name not in names]


def without(data):
    """The value of a document without what the harness and an archiving change."""
    return {key: item for key, item in data.items()
            if not re.fullmatch(r't\d+', str(key)) and key not in ('status', 'updated_at', 'completed_at')}


def bare(text):
    """A text without what archiving sets."""
    return re.sub(r'^(status|updated_at|completed_at):.*\n', '', text, flags=re.M)


LONG = re.compile(r'(?:and so on, ){9,}')


def source_of(events):
    """The text that one of these events wrote."""
    return next((event['text'] for event in events if event['text']), None)


def is_no_write(event):
    """Whether somebody has only archived what there was, brought it back, or put it in another layout: whoever wrote that is asked for, and has
    seen what was before."""
    is_layout = event['kind'] == 'write' and event['place'] == 'verb'
    return event['tokens'] == event['saw'] and (is_layout or event['kind'] in ('archive', 'unarchive'))


class Judge:
    def __init__(self, world, start):
        self.world, self.start, self.found = world, start, []

    def say(self, kind, about, why):
        self.found.append((kind, about, why))

    def settled_by(self, event, current, conflicts):
        """Whether a write is current, an ancestor of it, kept and named, or was replaced by one that saw it. A comment with a token is held to
        the same: who updates a row saw the text that was kept of it, and a row of values alone is right then. Where nothing is kept of a
        row's text, the file's stands (`standing`) until somebody writes the row anew."""
        id, wrote = event['id'], event['tokens']
        there = current.get(id)
        if there and wrote <= tokens(there[0]):
            return True
        if any(wrote <= tokens(text) for _, text in conflicts.get(id, [])) and not self.has_to_stand(event):
            return True
        is_archived = any(it['kind'] == 'archive' and it['id'] == id and it['acked'] != 'no' and wrote <= (it['tokens'] or set()) for it in self.world.events)
        if is_archived and any(wrote <= tokens(verify.read(path)) for path in self.archive_places.get(id, ())):
            # An active one beside it is the one that is current, and one that lies nearer the one that is shown.
            return True
        if self.world.facts.get('restores') and (id, wrote) in self.kept_and_named:
            # What a restore displaces is kept.
            return True
        if event.get('standing') and event['place'] == 'files' and self.stands(event):
            return True
        saw = self.bare(id, wrote) if event.get('standing') else wrote
        for later in self.world.events:
            if is_no_write(later):
                continue
            if later['id'] == id and later['seq'] > event['seq'] and saw <= later['saw'] and later['acked'] != 'no':
                if later['acked'] == 'yes' or (there and tokens(there[0]) == later['tokens']) or self.was_seen(later):
                    return True
        return False

    def was_seen(self, event):
        """Whether somebody found in the store in use what perhaps was written; of what a person has decided, be it in the old one."""
        return bool(event['tokens']) and any(
            event['tokens'] <= it['saw'] and it['seq'] > event['seq'] and it['id'] == event['id']
            and (it['place'] in ('verb', SIDE.get(it['named'])) or event['place'] == 'restore' and it['tokens'] is not None and tokens(self.now.get(it['id'])) >= it['tokens'])
            # Who deletes it has found it as well.
            for it in self.world.events if it['tokens'] is not None or it['kind'] == 'delete')

    def judge(self, again=False):
        world, self.again = self.world, again
        store = world.facts.get('in use') or world.named()
        current = world.current(store)
        self.now = {id: text for id, (text, _) in current.items()}
        conflicts, nothing, unnamed = conflicts_of(world)
        acted = [event for event in world.events if event['seq'] > self.start['seq']]
        self.kept, self.archived_now, self.archive_places = holdings(world), verify.archive(world.root), verify.archive_places(world.root)
        # What a command has said lies among what was displaced is named too.
        places = [*NAMED, *(('.milescale/displaced/', 'enterprise.db:milescale_displaced', 'postgresql:milescale_displaced') if 'displaced' in world.facts.get('told', '') else ())]
        self.kept_and_named = holdings(world, places)
        self.ids(current, conflicts, acted, store)
        self.contents(acted)
        self.conflicts(current, conflicts, nothing, unnamed, acted)
        self.resolved(current)
        self.archived(acted)
        self.configuration()
        self.leftovers()
        if not world.facts.get('followed') and not any(event['kind'] in ('marker', 'other') for event in acted):
            self.modes()
        self.exported(current, store, acted)
        return self.found

    def ids(self, current, conflicts, acted, store):
        world = self.world
        told = {}
        for id in sorted({event['id'] for event in world.events} | set(current)):
            events = [event for event in world.events if event['id'] == id]
            there = current.get(id)
            now = tokens(there[0]) if there else None
            told[id] = now
            for event in events:
                if event['tokens'] is None or event['acked'] != 'yes' or event.get('earlier') or event['kind'] == 'other':
                    continue
                if is_no_write(event):
                    continue
                if self.settled_by(event, current, conflicts) or event.get('target') and self.stands(event):
                    continue
                # What is moved to the archive, or written there, where files are retired is judged by nobody: it lies there. So it does where the
                # milestones of a target are taken over, which has one of its id.
                if (world.facts.get('retires') or world.facts.get('filled')) and event['place'] == 'files' and event['tokens'] <= tokens(self.archived_now.get(id)):
                    continue
                kind = 'gone' if there is None else 'lost'
                self.say(kind, id, f'{event["who"]} {event["kind"]} in {event["place"]} of {sorted(event["tokens"])} is neither '
                                   f'current {sorted(now or [])} nor kept and named')
            own = [event for event in events if event['who'] == 'own' and event['acked'] == 'yes' and event['tokens'] is not None and not is_no_write(event)]
            # Where it was deleted, an older one in the archive is what is left.
            left = there is not None and there[1] and any(event['kind'] == 'delete' for event in events)
            if own and there is not None and not left and now != own[-1]['tokens']:
                last = own[-1]
                # What another program wrote upon it stands for it.
                ends = [last['tokens'], *(event['tokens'] for event in events if event['who'] == 'foreign' and event['tokens'] and last['tokens'] <= event['saw'])]
                by_restore = any(event['place'] == 'restore' and event['tokens'] == now for event in events) and any((id, end) in self.kept_and_named for end in ends)
                # Where another program's milestones are taken over, what differs there wins, and this is kept.
                # So it is where another store is named by hand, be it after another program replaced it.
                taken_over = world.facts.get('filled') or world.facts.get('followed')
                # Where one was taken away where it was in use, nothing of it is left to be kept: that is where it was written, too, when
                # the marker names another store already, which nothing follows yet.
                in_use = lambda event: event['place'] in (SIDE.get(event['named']), SIDE.get(last['named']))
                is_deleted = any(event['kind'] == 'delete' and in_use(event) and last['tokens'] <= event['saw'] for event in events)
                by_theirs = taken_over and (is_deleted or any(end and end <= tokens(text) for end in ends for _, text in conflicts.get(id, [])))
                by_later = any(event['tokens'] == now and event['seq'] > last['seq'] and event['acked'] != 'no' for event in events)
                # What was written on an old side just before a restore, upon the content that it gave back, comes after it.
                by_pending = last['place'] == 'restore' and last['tokens'] <= now
                # Somebody has moved it to the archive, where an older one lies nearer.
                is_beside = there[1] and any(last['tokens'] <= tokens(verify.read(path)) for path in self.archive_places.get(id, ()))
                if not (by_restore or by_theirs or by_later or by_pending or is_beside):
                    self.say('replaced', id, f'the acknowledged {last["kind"]} of {sorted(last["tokens"])} was replaced by {sorted(now)}')
            if there is not None:
                self.taken_out(id, events, now)
                same = [event for event in events if event['tokens'] == now]
                if not same:
                    self.say('altered', id, f'nobody wrote {sorted(now)}')
                elif all(event['acked'] == 'no' for event in same):
                    self.say('false error', id, f'{sorted(now)} was answered with "not written", and is current')
                self.value(id, there[0], same)
                last = [event for event in events if event['acked'] == 'yes' and event['kind'] in ('archive', 'unarchive', 'write')]
                # Or somebody has deleted what was archived.
                perhaps = last and any(event['seq'] > last[-1]['seq'] and (event['kind'] == 'unarchive' and event['acked'] == 'maybe' or event['kind'] == 'delete')
                                       for event in events)
                if last and last[-1]['who'] == 'own' and last[-1]['kind'] == 'archive' and not there[1] and not perhaps and not world.facts.get('unread'):
                    self.say('silent', id, 'archive answered 0, and it is not archived')
            elif not any(event['kind'] == 'delete' for event in events):
                counted = [event for event in events if event['acked'] == 'yes' and event['tokens'] is not None and not event.get('target')]
                if world.facts.get('unread'):
                    # Nothing is known of a store that was left unread: what it alone holds is kept.
                    counted = [event for event in counted if not any(event['tokens'] <= tokens(text) for _, text in conflicts.get(id, []))]
                if counted and not (world.facts.get('restores') and all((id, event['tokens']) in self.kept_and_named for event in counted)):
                    self.say('gone', id, 'it is there no more')
            self.linear(id, events, there, conflicts)
            deleted = [event for event in acted if event['id'] == id and event['kind'] == 'delete' and event['who'] == 'foreign']
            only_there = all(event.get('target') for event in events if event['kind'] != 'delete')
            if only_there or any(SIDE.get(event['named']) == event['place'] for event in deleted):
                deleted = []        # gone where it was in use, or where alone it was
            if deleted and there is None and not self.again and SIDE.get(deleted[-1]['named']) != deleted[-1]['place'] and not deleted[-1].get('own'):
                if SIDE.get(store) != deleted[-1]['place']:
                    self.say('gone', id, 'it went on a side that was not in use, and is gone in the one that is')

    def taken_out(self, id, events, now):
        """A comment that a `put` took out stays out, unless somebody writes it anew into the store in use: an old side has not seen that it went."""
        if self.world.facts.get('restores') or self.world.facts.get('followed'):
            return
        for put in events:
            gone = (put['saw'] - put['tokens']) & (put['saw'] - self.bare(id, put['saw'])) if put['place'] == 'verb' and put['kind'] == 'write' else set()
            by_others = any(event['tokens'] == now and event['seq'] > put['seq'] and (event['place'] in ('verb', 'restore', SIDE.get(event['named'])) or not gone & event['saw'])
                            for event in events)
            if put['acked'] == 'yes' and gone & now and not by_others:
                self.say('replaced', id, f'the acknowledged put of {sorted(put["tokens"])} took out {sorted(gone)}, and {sorted(now)} is current')

    def bare(self, id, content):
        """The tokens of the values of a content."""
        return content.difference(*(event['comments'] for event in self.world.events if event['id'] == id))

    def has_to_stand(self, event):
        """Whether something was made anew in what was to be a store, by a move that failed: an undo touches only what its move brought. An edit of
        that may go with it, and is kept: so may what was made where a file of the move's was taken away, which is like an editor's save."""
        if any(other['id'] == event['id'] and other['who'] == 'foreign' and other['kind'] in ('delete', 'archive') and other['seq'] < event['seq'] for other in self.world.events):
            return False
        return event['who'] == 'foreign' and event['kind'] == 'write' and event.get('target') and event.get('undone') and not event['saw'] and not self.again

    def stands(self, event):
        """Whether a write into what was to be a store, and has not become one, is where it was made."""
        world, id = self.world, event['id']
        text = verify.read(world.files().get(id, '')) if event['place'] == 'files' else world.rows(event['place']).get(id)
        return event['tokens'] <= tokens(text) or event['place'] == 'files' and event['tokens'] <= tokens(self.archived_now.get(id))

    def linear(self, id, events, there, conflicts):
        """Where each write was based on the one before, wherever it was made, the last one is current, and nothing is in conflict."""
        if self.world.facts.get('restores') or self.world.facts.get('followed'):
            return
        if any(event['kind'] in ('marker', 'delete') or event['acked'] == 'maybe' for event in events):
            return
        line = [event for event in events if event['acked'] == 'yes' and event['tokens'] is not None]
        if not line or not there or any(event.get(key) for event in line for key in ('earlier', 'target', 'undone', 'held', 'absent', 'retired')):
            return
        for before, after in zip(line, line[1:]):
            if after['saw'] != before['tokens'] or not after['tokens'] >= after['saw']:
                return
            # To archive is a change as well, which who writes on an old side has not seen: it is active there.
            if before['kind'] == 'archive' and after['who'] == 'foreign' and after['place'] != SIDE.get(after.get('named')):
                return
        if tokens(there[0]) != line[-1]['tokens']:
            self.say('not brought over', id, f'{sorted(line[-1]["tokens"])} is based on all before it, and {sorted(tokens(there[0]))} is current')
        elif line[-1]['kind'] == 'archive' and not there[1]:
            self.say('not brought over', id, 'it was moved to the archive, and is active')
        for name, text in conflicts.get(id, []):
            if (id, name) not in self.start['conflicts'] and not self.world.facts.get('unsure'):
                self.say('needless conflict', id, f'{name} keeps {sorted(tokens(text))}, and each write was based on the one before')

    def modes(self):
        """Files that are an old store are read-only, with a note; files in use are not."""
        world = self.world
        named = world.named()
        try:
            record = json.loads(world.read('.milescale', 'migration.json') or '{}')
        except ValueError:
            return
        acted = {event['id'] + '.yaml' for event in world.events if event['who'] == 'foreign' and event['place'] == 'files'}
        now = surface(world)
        notes = [name for name in now if name.endswith('.txt')]
        old = [it for it in record.get('old', []) if it['side'] == 'files' and not it.get('retired')]
        if SIDE.get(named) == 'files':
            bad = [name for name, mode in now.items() if name.endswith('.yaml') and not mode & 0o200 and name not in acted]
            if bad or notes:
                self.say('not as it was', 'active/', f'files are in use, and {bad + notes} are read-only or notes')
        elif old and now:
            bad = [name for name, mode in now.items() if name.endswith('.yaml') and mode & 0o222 and name not in acted]
            if bad or not notes:
                self.say('not as it was', 'active/', f'files are an old store: {bad} can be written, notes {notes}')

    def value(self, id, text, same):
        try:
            # What makes it large is read in a moment where it is the same.
            both = text, source_of(same) or ''
            if len(text) > 10_000 and not any('and so on' in LONG.sub('', it) for it in both) and len({sum(map(len, LONG.findall(it))) for it in both}) == 1:
                text, same = LONG.sub('', text), [{'text': LONG.sub('', both[1])}]
            data = verify.of_json(text) if text.lstrip().startswith('{') else verify.yaml.load(text, verify.Loader)
            source = source_of(same)
            if source is None:
                return
            other = verify.of_json(source) if source.lstrip().startswith('{') else verify.yaml.load(source, verify.Loader)
            if verify.canonical(without(data)) != verify.canonical(without(other)):
                self.say('altered', id, f'{text!r} instead of {source!r}')
        except Exception as error:
            self.say('altered', id, f'{text!r} cannot be read: {error}')

    def contents(self, acted):
        """milescale never destroys content it has not kept."""
        world = self.world
        now = self.kept
        wanted = set(self.start['holdings'])
        wanted |= {(event['id'], event['tokens']) for event in acted if event['tokens'] and event['acked'] == 'yes'}
        # What another program itself overwrote or removed where it stood, or what was put and then replaced by the dead.
        # The text that is kept of a row goes at the next write, whenever it was hidden.
        by_others = {(event['id'], event[what]) for event in world.events if event['who'] == 'foreign' and (event in acted or event['place'] in ENGINES)
                     for what in ('saw', 'replaced') if event[what]}
        for id, content in sorted(wanted - now - by_others, key=str):
            # A row is in the text of its values that is kept elsewhere, comments and all.
            if any(other == id and content < there and self.bare(id, there) == content for other, there in now):
                continue
            self.say('destroyed', id, f'the content {sorted(content)} is nowhere any more')
        # Who updates a row hides the comments of its text, which milescale keeps when it writes the row.
        for event in world.events:
            if event['who'] == 'foreign' and event['place'] in ENGINES and event['hidden'] and event['acked'] == 'yes':
                if not any(id == event['id'] and event['hidden'] <= content for id, content in now):
                    self.say('destroyed', event['id'], f'the text {sorted(event["hidden"])}, which another program has hidden, is nowhere any more')

    def conflicts(self, current, conflicts, nothing, unnamed, acted):
        world = self.world
        for id, name in nothing:
            self.say('conflict without content', id, f'an event names {name}, which is nowhere')
        for name in unnamed:
            self.say('conflict not named', name, 'kept, and no event names it')
        if any(event['kind'] == 'marker' for event in acted):
            return
        fresh = {(id, name) for id, found in conflicts.items() for name, _ in found} - self.start['conflicts']
        for id, name in sorted(fresh, key=str):
            text = next(text for other, text in conflicts[id] if other == name)
            writers = [event for event in world.events if event['id'] == id and event['who'] == 'foreign'
                       and event['tokens'] == tokens(text) and event['seq'] > world.facts.get('born', 0)]
            there = current.get(id)
            if not writers and not (not text.strip() and acted) and not world.facts.get('filled'):
                self.say('false conflict', id, f'{name} keeps {sorted(tokens(text))}, which nobody wrote in conflict')
            elif WATCHED in name or len(self.archive_places.get(id, ())) > 1 or id == world.facts.get('older') and world.facts.get('restores'):
                # What was watched as not dealt with is kept, even where it was brought over after a death. Of several documents of an id in the
                # archive a move looks at the nearest one alone, so that one which is current may be named with them (a restore may take it out since).
                continue
            elif world.facts.get('filled') or world.facts.get('unsure') or id in (world.facts.get('alike'), world.facts.get('beside')):
                # Two of an id that differ in the archive are named by a move, be it one that fails then.
                continue        # a store that is taken over has no bases: whatever differs is kept; so it is where both sides were written
            elif there and writers and tokens(text) and tokens(text) <= tokens(there[0]) and not any(event.get('earlier') for event in writers):
                self.say('needless conflict', id, f'{name} keeps {sorted(tokens(text))}, an ancestor of {sorted(tokens(there[0]))}')

    def resolved(self, current):
        """Where a conflict was to be resolved by what was kept, and that failed, it is listed still or its content is current, or was."""
        id, wanted, at = self.world.facts.get('resolving') or (None, None, 0)
        if id is None or id in current and wanted <= tokens(current[id][0]):
            return
        listed = (text for name, text in verify.kept(self.world.root)[0].items())
        if not any(wanted <= tokens(text) for text in listed) and not any(event['id'] == id and event['seq'] > at and wanted <= event['saw'] for event in self.world.events):
            self.say('lost', id, f'the conflict of {sorted(wanted)} was not resolved, and is listed no more')

    def archived(self, acted):
        touched = {event['id'] for event in acted if event['kind'] in ('archive', 'unarchive', 'delete')}
        now = self.archived_now
        for id, text in self.start['archive'].items():
            if id not in touched and now.get(id) != text:
                self.say('archive', id, f'completed/ held {text!r}, and now {now.get(id)!r}')

    def configuration(self):
        world = self.world
        text = world.read('config/storage-config.yaml') or ''
        want = [line for line in (self.start['config'] or '').splitlines() if not re.match(r'^\s*(type|url):', line)]
        want += [f'# edit {token}' for token in world.facts.get('config edits', [])]
        there = text.splitlines()
        for line in want:
            if line not in there:
                self.say('configuration', 'storage-config.yaml', f'the line {line!r} is gone')
        if world.named() not in SIDE:
            self.say('marker', 'storage-backend.txt', f'it says {world.named()!r}')

    def leftovers(self):
        world = self.world
        for folder, folders, names in os.walk(world.path()):
            for name in names + folders:
                place = os.path.relpath(os.path.join(folder, name), world.path())
                if place.startswith('locks/') and world.facts.get('for good'):
                    continue
                # An edit that came out because another one was saved over what stood there without it: `doctor` names it.
                if place.startswith('.milescale/came-out.'):
                    continue
                if re.search(r'\.milescale-(tmp|switch)|\.partial$', place) and not place.startswith('.milescale/displaced'):
                    self.say('left over', place, 'it stays for good')
        for name in os.listdir(world.path('locks')) if os.path.isdir(world.path('locks')) else []:
            # A disk that fails for good keeps the lock too.
            if not world.facts.get('for good') and name not in world.facts.get('locks', ()):
                self.say('left over', f'locks/{name}', 'no command runs')
        record = world.read('.milescale', 'migration.json')
        try:
            if record and json.loads(record).get('intent') is not None:
                self.say('left over', 'migration.json', 'an intent, though everything has come to rest')
        except ValueError:
            self.say('left over', 'migration.json', 'it cannot be read')

    def exported(self, current, store, acted):
        """What the command itself answers is what the script finds, and texts are what was written, byte for byte."""
        world = self.world
        if world.facts.get('refuses reads'):
            return
        folder = world.root + '.export'
        code, _, err = world.run(['milestone', 'export', '--dir', folder])
        if code != 0:
            self.say('stuck', 'export', f'exit {code}: {err.strip()[-200:]}')
            return
        texts = {name[:-5]: verify.read(os.path.join(folder, name)) for name in os.listdir(folder) if name.endswith('.yaml')}
        subprocess.run(['rm', '-rf', folder])
        for id in sorted(set(texts) | {id for id, (_, archived) in current.items() if not archived}):
            there = current.get(id)
            if id not in texts:
                self.say('answer', id, 'export does not know it')
            elif not there:
                self.say('answer', id, 'export tells it, and it is not there')
            elif tokens(texts[id]) != tokens(there[0]):
                self.say('answer', id, f'export says {sorted(tokens(texts[id]))}, the store {sorted(tokens(there[0]))}')
            else:
                same = [event for event in world.events if event['id'] == id and event['tokens'] == tokens(there[0])
                        and event['acked'] != 'no']
                written = [event['text'] for event in same if event['text']]
                if written and all(not text.lstrip().startswith('{') for text in written) and bare(texts[id]) not in map(bare, written):
                    self.say('layout', id, f'{texts[id]!r}, and what was written is {written[-1]!r}')


def late(world):
    """What was written on a side that was not in use while a daemon ran, or before, and was not brought over, kept or held when that ended."""
    current, (conflicts, _, _) = world.current(), conflicts_of(world)
    held = sum(event['event'] == 'changes_held' for event in verify.events(world.root))
    found = []
    for event in world.events if not held else []:
        side = SIDE.get(event['named'])
        if event['who'] != 'foreign' or event['kind'] != 'write' or event['place'] == side or event['acked'] != 'yes' or event.get('earlier'):
            continue
        # It has five seconds.
        if world.facts['daemon ended'] - event.get('at', 0) < 6:
            continue
        texts = [current.get(event['id'], ('',))[0], *(text for _, text in conflicts.get(event['id'], []))]
        if not any(event['tokens'] <= tokens(text) for text in texts) and event['seq'] == max(it['seq'] for it in world.events if it['id'] == event['id']):
            found.append(('late', event['id'], f'{sorted(event["tokens"])} was written in {event["place"]}, and the daemon that ran on did not bring it over'))
    return found


def not_synced(lines):
    """Calls of one command, as the shim logs them: what was renamed into place without being on the disk before, or whose
    folder is not synced afterwards."""
    calls = [line.split(' ', 2)[1:] for line in lines if len(line.split(' ', 2)) == 3]
    found = []
    for at, (op, path) in enumerate(calls):
        folder, name = os.path.split(path)
        # What a plan tries holds nothing of anybody's; a notification that is withdrawn is seldom there.
        if '/.milescale-try-' in path or name == 'migration-notification.previous.yaml':
            continue
        if op == 'rename' and not re.search(r'/(facts|status\.json|(?:displaced|retired)-looked\.json|pid|timestamp)$|/locks/|\.sock$', path):
            if ['fsync', folder] not in calls[at + 1:]:
                found.append(f'{path} is renamed into place, and its folder never synced')
        if op == 'write' and '.milescale-' in name:
            rest = calls[at + 1:]
            if ['write', path] in rest:
                continue
            renames = [index for index, (other, to) in enumerate(rest) if other == 'rename' and os.path.dirname(to) == folder]
            if renames and not re.search(r'/(facts|status\.json|(?:displaced|retired)-looked\.json)$', rest[renames[0]][1]) and '/locks/' not in path \
                    and ['fsync', path] not in rest[:renames[0]]:
                found.append(f'{rest[renames[0]][1]} is renamed into place before its content is synced')
    return found


def refuses(world, side):
    """Whether a retired store refuses a write."""
    if side == 'files':
        return not set(world.files()) & set(IDS)
    if side == 'sqlite':
        connection = sqlite3.connect(world.path('enterprise.db'))
        try:
            connection.execute("UPDATE milestones SET data = data || ' '")
            return False
        except sqlite3.Error:
            return True
        finally:
            connection.rollback()
            connection.close()
    try:
        verify.psql(world.direct, f'UPDATE "{world.schema}".milestones SET data = data')
        return False
    except subprocess.CalledProcessError:
        return True
