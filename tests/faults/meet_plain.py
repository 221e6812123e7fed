"""What contract §8 says where nothing fails and nobody comes between: short stories, each told in full, for `meet`.

Each is a function of a world in a starting state and of `say(kind, about, why)`. The account of every write follows it.
"""
import json
import os
import re
import time

import meet_oracle as oracle
from meet_world import SIDE, document, tokens, value, verify

STORIES = []


def story(*states):
    def noted(function):
        STORIES.extend((f'{function.__name__.replace("_", " ")}@{state}', state, function) for state in states)
        return function
    return noted


def texts(world):
    """What each milestone says, as the command gives it back."""
    return {id: (world.shown(id) or {}).get('text') for id, (_, archived) in world.current().items() if not archived}


def named_in(world, event, id):
    return any(it['event'] == event and re.search(rf'"{id}"', str(it['details']).replace("'", '"')) for it in verify.events(world.root))


def count(world, event):
    return sum(1 for it in verify.events(world.root) if it['event'] == event)


def settled(world, say, what='import'):
    time.sleep(2.2)
    code, _, err = world.run([what])
    # What no store can keep is named, and waits for a person.
    if code != 0 and 'cannot be brought over' not in err:
        say('fails', what, f'{code}: {err[-300:]}')


@story('sqlite<file', 'postgresql<file')
def a_file_that_goes_is_reported_and_stays(world, say):
    path = world.files()['m4']
    os.unlink(path)
    settled(world, say)
    if not (named_in(world, 'changes_reported', 'm4')):
        say('not told', 'm4', 'it is gone on the old side, and no event names it')
    if 'm4' not in world.current():
        say('gone', 'm4', 'its file went on the old side')


@story('sqlite<file', 'postgresql<file')
def an_edit_of_comments_alone_is_an_edit(world, say):
    path = world.files()['m4']
    saw = verify.read(path)
    text = saw + f'# t{world.token()}: 1\n'
    os.chmod(path, 0o644)
    with open(path, 'w') as file:
        file.write(text)
    world.note('foreign', 'm4', 'write', text, saw, place='files')
    settled(world, say, 'check')
    settled(world, say)
    if tokens(world.current()['m4'][0]) != tokens(text):
        say('not brought over', 'm4', 'a comment on the old side')


@story('sqlite<file', 'postgresql<file')
def an_earlier_content_is_reported_and_not_brought_over(world, say):
    first = verify.read(world.files()['m4'])
    world.foreign('m4', 'files')
    settled(world, say)
    edited = tokens(world.current()['m4'][0])
    if len(edited) != 2:
        say('not brought over', 'm4', f'an edit on the old side: {sorted(edited)}')
    with open(world.files()['m4'], 'w') as file:
        file.write(first)
    settled(world, say)
    if tokens(world.current()['m4'][0]) != edited:
        say('replaced', 'm4', 'an earlier content (a checkout) was brought over')
    if count(world, 'write_conflict'):
        say('false conflict', 'm4', 'a checkout is no conflict')


@story('sqlite<file', 'postgresql<file')
def an_empty_or_broken_file_replaces_nothing(world, say):
    before = {id: tokens(text) for id, (text, _) in world.current().items()}
    for id, text in (('m4', ''), ('m3', 'id: m3\n t: [\n')):
        path = world.files()[id]
        os.chmod(path, 0o644)
        with open(path, 'w') as file:
            file.write(text)
        world.note('foreign', id, 'broken', text, place='files', acked='maybe')
    settled(world, say)
    after = {id: tokens(text) for id, (text, _) in world.current().items()}
    if before != after:
        say('replaced', 'm3, m4', f'{before} became {after}')


@story('sqlite<file+batch', 'postgresql<file+batch')
def more_than_five_changes_at_once_wait_for_a_person(world, say):
    world.daemon(4.6, waits=lambda: not count(world, 'changes_held'))
    current = world.current()
    waiting = [event['id'] for event in world.events if event['place'] == 'files' and event['seq'] > 9
               and event['id'][0] == 'b' and not event['tokens'] <= tokens(current[event['id']][0])]
    if not waiting and count(world, 'changes_imported'):
        say('not held', 'a batch', 'all seven were brought over without a person')
    if not count(world, 'changes_held'):
        say('not told', 'a batch', 'no changes_held')
    code, _, err = world.run(['retire', 'files', '--yes'])
    if code == 0 and waiting:
        say('lost', 'a batch', 'retired with changes that wait')
    settled(world, say)


@story('file', 'hybrid', 'sqlite<file', 'postgresql<file', 'file<sqlite')
def a_put_that_has_not_seen_what_is_there_writes_nothing(world, say):
    shown = world.shown('m1')
    text = shown['text'] + f't{world.token()}: 1\n'
    world.foreign('m1', SIDE[world.named()])
    for match in (['--if-match', shown['digest']], []):
        code, _, _ = world.run(['milestone', 'put', 'm1', *match], input=text)
        if code == 0:
            say('silent', 'm1', f'put {match[:1]} answered 0 over what it had not seen')
    if tokens(text) <= tokens(world.current()['m1'][0]):
        say('replaced', 'm1', 'a put that had not seen what was there was written')
    code, _, _ = world.run(['milestone', 'archive', 'm1', '--if-match', shown['digest']])
    if code == 0 or world.current()['m1'][1]:
        say('replaced', 'm1', 'archived, though another content was seen')


@story('file', 'sqlite<file')
def a_lock_is_respected(world, say):
    held = world.path('locks', 'm1.lock')
    os.makedirs(held)
    for name, text in (('pid', str(os.getpid())), ('timestamp', time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime()))):
        world.write(f'locks/m1.lock/{name}', text + '\n')
    event = world.put('m1')
    if event['acked'] == 'yes':
        say('silent', 'm1', 'put went through the lock of a living process')
    os.unlink(os.path.join(held, 'pid'))
    os.unlink(os.path.join(held, 'timestamp'))
    os.rmdir(held)


def round_trip(world, say, way):
    before, conflicts, imported = texts(world), count(world, 'write_conflict'), count(world, 'changes_imported')
    for to in way:
        code, _, err = world.run(world.move_arguments(to))
        if code != 0 or world.named() != to:
            return say('fails', f'migrate {to}', f'{code}, {world.named()}: {err[-300:]}')
        after = texts(world)
        if after != before:
            changed = sorted(id for id in set(before) | set(after) if before.get(id) != after.get(id))
            say('layout', ', '.join(changed), f'after the move to {to}: {after.get(changed[0])!r}, before {before.get(changed[0])!r}')
    if count(world, 'write_conflict') > conflicts or count(world, 'changes_imported') > imported:
        say('false conflict', ' → '.join(way), 'moves in quiet tell conflicts or changes')
    code, out, _ = world.run(['import', '--json'])
    if code or not re.search(r'"imported": ?0', out) or not re.search(r'"conflicts": ?0', out):
        say('false conflict', 'import', f'nobody wrote anything, and it says {out.strip()}')


@story('file')
def to_and_fro_nothing_changes(world, say):
    round_trip(world, say, ['sqlite', 'file', 'hybrid', 'sqlite', 'hybrid', 'file', 'sqlite'])


@story('postgresql<file+new')
def to_and_fro_with_a_server_nothing_changes(world, say):
    round_trip(world, say, ['file', 'postgresql', 'sqlite', 'postgresql', 'hybrid'])


@story('sqlite<file', 'file<sqlite')
def a_backup_gives_back_what_there_was(world, say):
    backup = sorted(os.listdir(world.path('backups')))[0]
    code, out, err = world.run(['backups', 'show', backup])
    if code != 0:
        say('fails', 'backups show', f'{code}: {err[-200:]}')
    world.facts['restores'] = True
    code, _, err = world.run(['restore', backup, '--yes'])
    if code != 0:
        return say('fails', 'restore', f'{code}: {err[-300:]}')
    for id, first in world.first.items():
        there = world.current().get(id, ('',))[0]
        if tokens(there) != tokens(first):
            say('lost', id, f'the backup held {sorted(tokens(first))}, and after the restore there is {sorted(tokens(there))}')
        elif SIDE[world.named()] == 'files' and not first.startswith('{') and there != first:
            say('layout', id, f'restored as {there!r}')
    for event in world.events:      # what was displaced is kept: the account sees to it
        event['restored'] = True
    for id, first in world.first.items():
        world.note('own', id, 'write', first, world.current()[id][0], place='restore')


@story('sqlite<file', 'file<sqlite', 'postgresql<file')
def a_new_milestone_of_the_old_side_is_brought_over(world, say):
    side, token = ('files' if world.named() != 'file' else 'sqlite'), world.token()
    if side == 'files':
        world.write('active/n9.yaml', document('n9', token))
        world.note('foreign', 'n9', 'write', document('n9', token), place='files')
    else:
        data = json.dumps(value('n9', token))
        world.write_row('sqlite', 'n9', data, is_new=True)
        world.note('foreign', 'n9', 'write', data, place='sqlite')
    settled(world, say)
    if tokens(world.current().get('n9', ('',))[0]) != {token}:
        say('lost', 'n9', 'a new milestone of the old side is not there')


@story('sqlite<file', 'postgresql<file')
def a_word_in_the_marker_moves_nothing(world, say):
    before = {id: tokens(text) for id, (text, _) in world.current().items()}
    old = world.named()
    world.write('config/storage-backend.txt', 'file\n')
    for _ in range(2):
        time.sleep(2.2)
        world.run(['check'])
    told = [it for it in verify.events(world.root) if it['event'] == 'backend_changed']
    if not told:
        say('not told', 'the marker', 'no backend_changed')
    elif told[-1]['details'].get('adopted'):
        conflicts, _, _ = oracle.conflicts_of(world)
        for id, wanted in before.items():
            if wanted != tokens(world.current('file').get(id, ('',))[0]) and not any(wanted <= tokens(text) for _, text in conflicts.get(id, [])):
                say('lost', id, 'the store was adopted without it')
    world.write('config/storage-backend.txt', 'database\n')
    world.run(['check'])
    assert world.named() == old


@story('sqlite<file', 'file<sqlite', 'hybrid<file', 'postgresql<file')
def looking_changes_nothing(world, say):
    before = {id: text for id, (text, _) in world.current().items()}, oracle.surface(world), world.read('config/storage-config.yaml')
    for command in (['status'], ['doctor'], ['conflicts', 'list'], ['backups', 'list'], ['milestone', 'search', 'T'], ['milestone', 'list', '--all', '--json'],
                    ['migrate', 'file' if world.named() != 'file' else 'hybrid', '--dry-run'], ['events'], ['dashboard']):
        world.run(command)
    after = {id: text for id, (text, _) in world.current().items()}, oracle.surface(world), world.read('config/storage-config.yaml')
    if before != after:
        say('altered', 'the workspace', 'commands that only look have changed it')
