"""Faults that the tests have to find: each is put into a copy of the project, and the tests that know it run.

``make faults`` tries all of them, ``make faults ONLY=voucher`` those with a word in their name.  In the proof
a slice of them has its turn, as of any other sweep.  A fault is known by the text that it replaces, wherever
the module with it lies; the tests are known by their names.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

__all__ = ["FAULTS", "Fault", "hunt", "main", "module_of", "selection", "sources", "workshop"]

ROOT: Final = Path(__file__).parents[1]
MEMORY: Final = Path("/dev/shm")  # noqa: S108 - what is made there has a name of its own
SOURCES: Final = ("spkg", "vouchers", "cli.py")
PATIENCE: Final = 120
"""Seconds after which the tests for one fault are given up; they need a few."""
FAILED: Final = 1
"""How pytest ends where a test fails, and not the run."""


@dataclass(frozen=True)
class Fault:
    """A text of the program, what is written instead, and the tests that find it."""

    name: str
    old: str
    new: str
    tests: tuple[str, ...]


def _fault(name: str, old: str, new: str, *tests: str) -> Fault:
    return Fault(name, old, new, tests)


FAULTS: Final = (
    _fault(
        "a renewal states only what it adds",
        "    end = end_of(end_of(before.start, before.duration, before.units), added, units)\n",
        "    end = end_of(before.start, added, units)\n",
        "test_no_day_is_lost_or_given_twice",
    ),
    _fault(
        "what was renewed is due again",
        "    return ~sqlalchemy.exists().where(same)\n",
        "    return sqlalchemy.exists().where(same) | sqlalchemy.true()\n",
        "test_whoever_has_a_later_voucher_is_not_due_by_the_old_one",
    ),
    _fault(
        "two runs renew one Option",
        "        self._refuse_outdated(connection)\n",
        "",
        "test_of_two_batches_one_renews",
    ),
    _fault(
        "what ends by an estimate is renewed",
        "_is_due(within, now) & ENTRIES.c.start.is_not(None)\n",
        "_is_due(within, now)\n",
        "test_estimated_ends_are_counted_and_left_out",
    ),
    _fault(
        "the journal does not cover what a renewal and a voucher do",
        "                return (*EARLIER_COLUMNS, *TERMS_COLUMNS)\n",
        "                return EARLIER_COLUMNS\n",
        "test_whatever_is_changed_behind_the_journal_is_found",
    ),
    _fault(
        "an Option is off until a voucher that renews it begins",
        "[*(one for one in line if one.start < other.start), other]",
        "[other]",
        "test_what_governs_stays_until_a_later_start_comes",
    ),
    _fault(
        "a nonce of a connection request is good twice",
        '        if self._nonces.pop(said["nonce"], None) is None:\n',
        '        if said["nonce"] not in self._nonces:\n',
        "test_a_nonce_lets_one_request_in",
    ),
    _fault(
        "a session begins before its connection request is answered",
        "            await _answer(http, writer, status, headers, close=status != 401)\n"
        "            if let_in:\n                self._accepted()\n",
        "            if let_in:\n                self._accepted()\n"
        "            await _answer(http, writer, status, headers, close=status != 401)\n",
        "test_the_answer_has_left_before_a_session_may_begin",
    ),
    _fault(
        "an ACS is followed from https to http",
        '    if where.scheme == "https" and moved.scheme != "https":\n'
        '        raise refused("a redirect from https to http is not allowed")\n'
        "    return moved\n\n\ndef drain(",
        "    return moved\n\n\ndef drain(",
        "test_a_redirect_to_http_is_refused",
    ),
    _fault(
        "a password of the ACS goes over http in clear text",
        '        if basic and where.scheme == "https":\n            self.asked',
        "        if basic:\n            self.asked",
        "test_a_password_is_never_sent_in_clear_text_over_http",
    ),
    _fault(
        "another server than the ACS is shown the login",
        "        if self._proof is None or where.origin != self._home.origin:\n",
        "        if self._proof is None:\n",
        "test_another_server_is_shown_neither_name_nor_password",
    ),
    _fault(
        "a response of an ACS may drip for ever",
        "until = min(self._ends, self._clock() + (self._timeout if patience is None else patience))",
        "until = self._clock() + (self._timeout if patience is None else patience)",
        "test_a_response_has_an_end_in_time",
    ),
    _fault(
        "events are over although their session broke",
        "        attempts = self._moments.attempts\n        if not talk.answered:\n",
        "        with self._state.change() as change:\n            change.drop_events(self._state.events())\n"
        "        attempts = self._moments.attempts\n        if not talk.answered:\n",
        "test_events_are_over_when_their_session_is_and_not_before_e4",
    ),
    _fault(
        "events are over when the Inform is answered",
        "            talk.answered = True\n",
        "            talk.answered = True\n            with self._state.change() as change:\n"
        "                change.drop_events(self._state.events())\n",
        "test_events_are_over_when_their_session_is_and_not_before_e4",
        "test_the_story_killed_at_each_step_comes_to_its_end",
    ),
    _fault(
        "events that came during a session are over with it",
        "            change.drop_events(event for event in self._state.events() if event in told)\n",
        "            change.drop_events(self._state.events())\n",
        "test_an_event_that_comes_during_a_session_waits_for_the_next_one",
    ),
    _fault(
        "a transfer is forgotten when it is told, and not when that was answered",
        "                talk.tells[requests[-1].id] = transfer\n",
        "                self._transfers.told(transfer)\n",
        "test_the_story_killed_at_each_step_comes_to_its_end",
    ),
    _fault(
        "a package is forgotten before it is confirmed",
        "        # Also for a package that was installed already: it may be on trial since.\n",
        "        with self._state.change() as change:\n            change.drop_transfer(transfer.id)\n",
        "test_the_story_killed_at_each_step_comes_to_its_end",
    ),
    _fault(
        "a package is confirmed although the ACS has refused to hear of it",
        "        if fault is None:\n            try:\n                self._transfers.told(transfer)\n",
        "        if transfer:\n            try:\n                self._transfers.told(transfer)\n",
        "test_a_completion_that_the_acs_refuses_is_no_reason_for_a_session_but_comes_with_the_next",
    ),
    _fault(
        "a transfer runs before it is on disk that it does",
        "            self._keep(replace(transfer, state=RUNNING, result=begun))\n            if self",
        "            transfer = replace(transfer, state=RUNNING, result=begun)\n            if self",
        "test_the_story_killed_at_each_step_comes_to_its_end",
    ),
    _fault(
        "the end of a transfer is told before the reboot that it needs",
        "        return tuple(one for one in self._complete() if not self._needs_reboot(one))\n",
        "        return self._complete()\n",
        "test_a_package_that_wants_a_reboot_gets_one_and_is_told_after_it_t10_p29_p41",
    ),
    _fault(
        "a device reboots although the session that asked for it broke",
        "        may_restart = self._transfers.reboot_due or not self._restart_waits\n",
        "        may_restart = True\n",
        "test_a_reboot_waits_for_a_clean_end_of_its_session_s16",
    ),
    _fault(
        "a scheduled Inform is forgotten before it was told",
        "                    deadline.remaining(talk.begun, self._boot_id) <= 0\n                    and ",
        "                    deadline or ",
        "test_a_scheduled_inform_comes_once_and_outlives_a_reboot_r17_e16",
    ),
    _fault(
        "a new ACS does not hear that it is one",
        "            told.discard(Event(EventCode.BOOTSTRAP))",
        "            told.add(Event(EventCode.BOOTSTRAP))",
        "test_a_new_url_is_used_for_every_later_session_and_is_on_trial_d9_t15",
    ),
    _fault(
        "an 8005 to an Inform does not raise its RetryCount",
        "        self._moments.attempts = self._moments.attempts.inform_failed()\n"
        "        return self._inform(talk)\n",
        "        return self._inform(talk)\n",
        "test_an_inform_that_is_to_be_sent_again_has_a_higher_retry_count_e18",
    ),
    _fault(
        "a server is called a method that it does not list",
        "        if self._waiting and self.methods is None:\n            return [Errand(ASKING, {})]\n"
        "        self._refuse()\n",
        "",
        "test_request_download_never_reaches_a_server_that_does_not_list_it_a2_a3",
    ),
    _fault(
        "kicks have no limit",
        "            if not may_kick(self._kicks, boot, KICKS_PER_HOUR):\n",
        "            if False:\n",
        "test_kicks_are_limited_a5",
    ),
    _fault(
        "more envelopes are taken from a response than were announced",
        "        messages = read_response(body, most)\n",
        "        messages = read_response(body, 16)\n",
        "test_what_is_no_envelope_breaks_the_session_and_is_shown",
        "test_several_envelopes_are_read_where_they_are_announced",
    ),
    _fault(
        "what the ACS says is not traced",
        '            trace("received", message.octets)\n',
        "            pass\n",
        "test_every_envelope_is_traced",
    ),
    _fault(
        "a password in a parameter is traced",
        'elif parent is not None and _local(element) == "Name" and secret_name(_said(element, values)):',
        'elif parent is not None and _local(element) == "Nothing" and secret_name(_said(element, values)):',
        "test_no_password_is_shown",
        "test_the_log_has_no_password",
    ),
    _fault(
        "an envelope that can't be read is traced as it is",
        '        return f"[{len(octets)} bytes that are no envelope: {exc.problem}]"\n',
        '        return f"[{len(octets)} bytes that are no envelope: {exc.problem}] {octets!r}"\n',
        "test_what_cannot_be_read_is_not_shown",
    ),
    _fault(
        "the log grows without an end",
        "                if length + len(line) > self._half:\n",
        "                if False:\n",
        "test_the_files_never_exceed_the_size",
    ),
    _fault(
        "the log follows a link",
        "self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600",
        "self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600",
        "test_a_link_in_its_place_is_not_followed",
    ),
    _fault(
        "everybody may ask the agent",
        "        mask = os.umask(0o177)\n",
        "        mask = os.umask(0)\n",
        "test_the_socket_is_for_its_owner_alone_and_goes_with_the_agent",
    ),
    _fault(
        "two agents run with one state",
        "        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n    except OSError as exc:\n"
        "        os.close(descriptor)\n",
        "        pass\n    except OSError as exc:\n        os.close(descriptor)\n",
        "test_a_second_agent_is_refused",
        "test_one_agent_runs_with_a_state",
    ),
    _fault(
        "a transfer that begins takes over the report of the one before",
        "            path.unlink()\n        if left:",
        "            self._note(token, None)\n            path.unlink()\n        if left:",
        "test_a_report_of_an_earlier_transfer_is_none_of_one_whose_beginning_was_killed",
    ),
    _fault(
        "the report of an earlier transfer may come back after a power cut",
        "            sync_directory(self._state.parent)\n",
        "            pass\n",
        "test_the_report_of_an_earlier_transfer_is_gone_for_good_before_another_is_noted",
    ),
    _fault(
        "a parameter that its provider calls secret is traced",
        "masked_envelope(octets, self._tree.is_secret)",
        "masked_envelope(octets)",
        "test_a_trace_does_not_show_what_a_provider_calls_secret",
    ),
    _fault(
        "the talker keeps the groups of root",
        "            os.setgroups([])\n            os.setgid(talker[1])\n",
        "            os.setgid(talker[1])\n",
        "test_the_talker_has_given_up_its_rights",
    ),
    _fault(
        "the talker changes what it likes",
        "        confined = confine_changes(*opened) > 0\n",
        "        confined = True\n",
        "test_only_its_own_directories_can_be_changed",
        "test_the_talker_has_given_up_its_rights",
    ),
    _fault(
        "nobody let in is somebody without a password",
        "        return (name, password) if password else None\n",
        "        return (name, password)\n",
        "test_connection_requests_need_a_password_that_is_not_empty_c4",
    ),
    _fault(
        "an Option that is not enabled is in EnabledOptions",
        "(now, provisioning_code) if one.enabled)\n",
        "(now, provisioning_code))\n",
        "test_an_option_ends_by_itself_o2",
    ),
    _fault(
        "providers are called before it is kept what they have to do",
        "        intent = Intent(values=others, before=before, built_in=own, parameter_key=key)\n"
        "        with self._state.change() as change:\n            change.set_intent(intent)\n",
        "        intent = Intent(values=others, before=before, built_in=own, parameter_key=key)\n",
        "test_a_request_killed_at_each_commit_is_all_old_or_all_new",
    ),
    _fault(
        "values that a provider refuses are not set back",
        "                if before:\n                    source.put(before, self._holdings.begin())\n",
        "                pass\n",
        "test_r2_a_set_that_fails_sets_the_old_values_back",
    ),
    _fault(
        "what the ACS has set is a change",
        "            self._notifications.known_to_acs(change, known)\n",
        "            pass\n",
        "test_d16_p37_what_the_acs_set_is_never_a_change",
    ),
    _fault(
        "what an Inform reported replaces what the ACS has set since",
        "                change.tell(name, value)\n            self._told.pop(name, None)\n",
        "                change.tell(name, value)\n",
        "test_d16_p37_what_the_acs_set_is_never_a_change",
    ),
    _fault(
        "an instance number is given twice",
        "        number = max(self._state.instances().get(path, 1), max(there, default=0) + 1)\n",
        "        number = max(there, default=0) + 1\n",
        "test_r12_an_instance_number_is_never_given_twice",
    ),
    _fault(
        "one parameter twice is taken",
        "            if one.name in twice:\n",
        "            if False:\n",
        "test_p18_one_parameter_twice_is_a_fault_whatever_the_values",
    ),
    _fault(
        "a change during a session is told by it",
        "        if self._changes is not None:\n            return self._changes\n",
        "",
        "test_s5_a_change_during_a_session_makes_the_next_one",
    ),
    _fault(
        "a state that can't be read keeps the agent from starting",
        "                if path is None or not repair or not _is_damage(exc, path):\n",
        "                if True:\n",
        "test_p24_a_file_that_cannot_be_read_never_keeps_the_agent_from_starting",
    ),
    _fault(
        "a second agent overwrites what the first one has kept",
        '        database.execute("PRAGMA locking_mode = EXCLUSIVE")',
        '        database.execute("PRAGMA locking_mode = NORMAL")',
        "test_a_second_agent_does_not_come_to_write",
    ),
    _fault(
        "a provider that did not answer is asked again and again",
        "            self._rests_until = self._clock() + REST\n            self.close()\n",
        "            self.close()\n",
        "test_a_provider_that_never_answers_costs_five_seconds_once",
    ),
    _fault(
        "a response is cut behind its first envelope, junk or not",
        """        if exc.code == AFTER_ROOT and octets[end : end + 1] == b"<":
""",
        "        if exc.code == AFTER_ROOT:\n",
        "test_junk_behind_the_last_envelope_is_located",
    ),
    _fault(
        "more envelopes are read than were announced",
        '        if len(found) == most:\n            problem = f"expected at most {amount(most',
        '        if len(found) > most:\n            problem = f"expected at most {amount(most',
        "test_h2_more_envelopes_than_announced_are_refused",
    ),
    _fault(
        "an answer has the namespace of 2004 whatever the request has",
        '        return _written(f"{name}Response", answer, values, call.id, call.version)\n',
        '        return _written(f"{name}Response", answer, values, call.id, 0)\n',
        "test_x7_every_answer_is_read_as_it_is_written",
    ),
    _fault(
        "an envelope may be as deep as it likes",
        "        if _TOO_DEEP(root):\n",
        "        if False:\n",
        "test_what_is_no_envelope_is_malformed",
    ),
    _fault(
        "a large value that is referred to often costs as much as many",
        '            self._spare -= len(value.text or "") + 1\n',
        "",
        "test_one_large_value_is_not_had_many_times",
    ),
    _fault(
        "an argument that occurs twice is taken once",
        "        if found[slot] is not _MISSING:\n",
        "        if False:\n",
        "test_x13_x14_what_is_wrong_with_a_call_is_9003_with_its_place",
    ),
    _fault(
        "a member of an array is counted wrong",
        'arrayType="{kind}[{len(members)}]"',
        'arrayType="{kind}[{len(members) + 1}]"',
        "test_x2_x4_an_answer_is_written_as_the_example_is",
    ),
    _fault(
        "characters that XML does not have are sent",
        "        if not (text.isascii() and text.isprintable()):\n",
        "        if False:\n",
        "test_characters_that_xml_has_not_are_replaced_and_counted",
    ),
    _fault(
        "a method answers with faults that it does not know",
        "    if known is None or code in known or code is FaultCode.METHOD_NOT_SUPPORTED:\n",
        "    if True:\n",
        "test_r21_a_method_is_answered_only_with_faults_that_it_knows",
    ),
    _fault(
        "parameters in error are told under the fault of the first of them",
        "        code = FaultCode.INVALID_ARGUMENTS\n",
        "",
        "test_x6_each_parameter_in_error_is_told_and_never_by_9004",
    ),
    _fault(
        "a number out of range is taken",
        "        if not least <= number <= most:\n",
        "        if False:\n",
        "test_r4_a_value_that_its_type_does_not_allow_is_9007",
    ),
    _fault(
        "the time since boot is a time",
        "    if NOT_KNOWN.fullmatch(text):\n",
        '    if text.startswith("0000"):\n',
        "test_x16_both_forms_of_no_time_are_read",
    ),
    _fault(
        "a connection request during a session is lost",
        "            requested=None if requested is None or requested <= begun.boot else requested,\n",
        "            requested=None,\n",
        "test_what_comes_during_a_session_is_not_lost_s5_c7",
    ),
    _fault(
        "a change during a session is lost",
        "            changed_at=None if changed is None or changed <= begun.boot else changed,\n",
        "            changed_at=None,\n",
        "test_what_comes_during_a_session_is_not_lost_s5_c7",
    ),
    _fault(
        "a ScheduleInform is repeated",
        "                if time.remaining(begun, self.boot_id) > 0\n",
        "                if True\n",
        "test_what_comes_during_a_session_is_not_lost_s5_c7",
    ),
    _fault(
        "a ScheduleInform is gone with another of its CommandKey",
        "if time.remaining(begun, self.boot_id) > 0\n                or",
        "if",
        "test_what_comes_during_a_session_is_not_lost_s5_c7",
    ),
    _fault(
        "events that an Inform has no room for are lost",
        "            waiting=tuple(event for event in self.waiting if event not in reported),\n",
        "            waiting=(),\n",
        "test_more_events_than_an_inform_holds_are_told_a_second_later_e2",
    ),
    _fault(
        "a session sends requests that are held",
        "if self._waiting and not self._held and len(",
        "if self._waiting and len(",
        "test_every_state_with_every_answer",
    ),
    _fault(
        "a session takes an empty response for a hold",
        "self._held = messages[-1].hold_requests if messages else False",
        "self._held = messages[-1].hold_requests if messages else self._held",
        "test_an_empty_response_ends_a_hold_s10",
    ),
    _fault(
        "a session lets the first envelope decide about a hold",
        "self._held = messages[-1].hold_requests if",
        "self._held = messages[0].hold_requests if",
        "test_the_last_envelope_of_a_response_decides_about_a_hold_s10",
    ),
    _fault(
        "a session posts nothing although calls wait for their answer",
        "        if self._answers:\n            return (self._answers.popleft(),)\n",
        "        if self._answers and not self._held:\n            return (self._answers.popleft(),)\n",
        "test_every_state_with_every_answer",
    ),
    _fault(
        "a session lets its answers wait for one to a request",
        "        if self._answers:\n            return (self._answers.popleft(),)\n",
        "        if self._answers and not self._unanswered:\n            return (self._answers.popleft(),)\n",
        "test_no_answer_waits_for_the_answer_to_a_request_of_ours_s7",
    ),
    _fault(
        "a session gives its last answer first",
        "            return (self._answers.popleft(),)\n",
        "            return (self._answers.pop(),)\n",
        "test_requests_are_answered_in_their_order_over_envelopes_and_posts_s6",
    ),
    _fault(
        "a session posts nothing although requests wait",
        "if self._waiting and not self._held and len(self._unanswered)",
        "if self._waiting and self._silent and len(self._unanswered)",
        "test_every_state_with_every_answer",
    ),
    _fault(
        "a session has too many requests without an answer",
        "len(self._unanswered) < self._outstanding",
        "len(self._unanswered) <= self._outstanding",
        "test_so_many_of_our_requests_are_unanswered_at_most_s21",
    ),
    _fault(
        "a session is over before all answers to us are here",
        "            and not self._unanswered\n            and not self._answers\n",
        "            and not self._answers\n",
        "test_every_state_with_every_answer",
    ),
    _fault(
        "a session is over before all answers of ours are sent",
        "            and not self._unanswered\n            and not self._answers\n",
        "            and not self._unanswered\n",
        "test_no_more_requests_with_a_request_ends_it_after_the_answer_s20",
    ),
    _fault(
        "a session goes on after NoMoreRequests",
        "(self._silent or self._no_more)",
        "self._silent",
        "test_every_state_with_every_answer",
    ),
    _fault(
        "a session keeps NoMoreRequests that was taken back",
        "messages[-1].no_more_requests if messages else self._no_more",
        "any(one.no_more_requests for one in messages) or self._no_more",
        "test_a_later_envelope_takes_no_more_requests_back_s20",
    ),
    _fault(
        "a session obeys 8005 for ever",
        "fault.code == RETRY_REQUEST and ours.repeated < MAX_RETRIES:",
        "fault.code == RETRY_REQUEST:",
        "test_a_retry_request_is_obeyed_three_times_e18",
    ),
    _fault(
        "a session obeys 8005 late",
        "self._waiting.appendleft(once_more)",
        "self._waiting.append(once_more)",
        "test_a_retry_request_is_obeyed_at_once_e18",
    ),
    _fault(
        "a session takes an Inform without a response for answered",
        "        if self._inform in self._unanswered:\n",
        "        if not messages and False:\n",
        "test_an_inform_without_its_response_breaks_the_session",
    ),
    _fault(
        "a session takes the answer with another ID for its own",
        "if one.request.id == stated), None) if stated else oldest",
        "if one.request.id == stated), oldest) if stated else oldest",
        "test_an_answer_with_another_id_breaks_the_session",
    ),
    _fault(
        "a session takes any answer for that to TransferComplete",
        "if method != LENIENT or message.name in others:",
        "if method != LENIENT:",
        "test_the_answer_to_another_request_is_not_that_to_transfer_complete",
    ),
    _fault(
        "a session is held for ever",
        "        if self._idle > MAX_IDLE:\n",
        "        if self._idle < 0:\n",
        "test_a_server_that_only_sends_headers_does_not_hold_us_for_ever",
    ),
    _fault(
        "the answer to an Inform resets the wait between attempts",
        "return replace(self, retry_count=0)",
        "return replace(self, retry_count=0, failures=0)",
        "test_the_answer_to_an_inform_does_not_shorten_the_wait_e17",
    ),
    _fault(
        "all devices come back at once",
        "return _shortest(failures) * (1 + draw())",
        "return _shortest(failures) * (1 + draw() * 0)",
        "test_ten_thousand_devices_do_not_come_back_at_once_e17",
    ),
    _fault(
        "Retry-After is not heeded",
        "            not_before = boot + asked\n",
        "            not_before = boot\n",
        "test_a_server_says_when_to_come_back",
    ),
    _fault(
        "all that a server sends away come back at once",
        "delay = max(delay, asked + delay - _shortest(failures))",
        "delay = max(delay, asked)",
        "test_those_sent_away_together_do_not_come_back_together",
    ),
    _fault(
        "retries never end",
        "        if failures > limit:\n",
        "        if failures < 0:\n",
        "test_retries_end_with_the_limit_s17",
    ),
    _fault(
        "what was given up is tried again at once",
        "any(given_up is None or reason > given_up for reason in reasons)",
        "bool(reasons)",
        "test_after_the_last_retry_only_another_cause_makes_a_session_s17",
    ),
    _fault(
        "the phase is not kept",
        "        shift = self.phase * self.interval\n",
        "        shift = 0.0\n",
        "test_ten_thousand_phases_are_uniform_p7",
    ),
    _fault(
        "the reference of periodic Informs is not heeded",
        "shift if self.reference is None else self.reference",
        "shift",
        "test_a_year_of_informs_each_on_its_time_p7",
    ),
    _fault(
        "a clock makes a storm of periodic Informs",
        "        if time_due > facts.periodic_from:\n",
        "        if (now.wall or time_due) > facts.periodic_from:\n",
        "test_a_jump_of_a_year_ahead_makes_no_storm",
    ),
    _fault(
        "a clock that is slewed makes two Informs of one",
        "return self.at + self.periodic.interval / 2",
        "return self.at",
        "test_a_clock_that_is_slewed_makes_no_second_inform_p7",
    ),
    _fault(
        "each exchange of a post has a time of its own",
        "        self._ends += octets / SLOWEST\n",
        "        self.begin_post()\n        self._ends += octets / SLOWEST\n",
        "test_all_redirects_and_logins_of_a_post_share_its_time",
    ),
    _fault(
        "a post that the agent breaks off is called silence",
        "            if self._ending():\n                raise UnfinishedError\n",
        "            if self._ending():\n                raise SilenceError\n",
        "test_what_times_out_is_tried_again_until_the_agent_ends",
    ),
    _fault(
        "the URL of a download is an argument",
        '            f"--url-fd={URL_DESCRIPTOR}",\n',
        "            location.url,\n",
        "test_url_name_and_password_are_neither_arguments_nor_variables",
    ),
    _fault(
        "a clock that is set twice makes an early Inform",
        "TimeTold(facts.periodic, time_due + max(0.0, now.boot - max(time_due, begin)))",
        "TimeTold(facts.periodic, time_due)",
        "test_after_a_clock_is_set_informs_fall_on_its_times_once_they_are_not_near_p7",
    ),
    _fault(
        "retries move the times of periodic Informs",
        "TimeTold(facts.periodic, time_due + max(0.0, now.boot - max(time_due, begin)))",
        "TimeTold(facts.periodic, now.boot)",
        "test_a_day_with_a_server_that_is_away_loses_none_of_the_times_after_it_p7",
    ),
    _fault(
        "a ScheduleInform depends on the clock",
        "        if boot_id == self.boot_id:\n            return self.boot - now.boot\n",
        "",
        "test_scheduled_informs_do_not_depend_on_the_clock_e12",
    ),
    _fault(
        "a ScheduleInform is lost with a clock that went back",
        "return by_boot if now.wall is None else min(by_boot, self.wall - now.wall)",
        "return by_boot if now.wall is None else self.wall - now.wall",
        "test_scheduled_informs_outlive_a_reboot_e16",
    ),
    _fault(
        "one session follows another at once",
        "SESSION_GAP: Final = 1.0",
        "SESSION_GAP: Final = 0.0",
        "test_a_second_lies_between_two_sessions",
    ),
    _fault(
        "two sessions run at a time",
        "session = wanted and begin <= now.boot and not facts.busy",
        "session = wanted and begin <= now.boot",
        "test_no_session_begins_while_one_runs_s3",
    ),
    _fault(
        "an old connection request ends every wait",
        "facts.requested is None or facts.requested <= failed",
        "facts.requested is None",
        "test_a_connection_request_that_came_to_nothing_waits_like_all_others",
    ),
    _fault(
        "changes are told as often as they come",
        "max(facts.changed_at, told + facts.change_interval)",
        "facts.changed_at",
        "test_changes_are_told_at_most_so_often_and_all_of_them_after_the_delay_d18",
    ),
    _fault(
        "an Inform has too many events",
        "*others][:MAX_EVENTS]",
        "*others]",
        "test_one_inform_has_at_most_16_events_and_the_oldest_go_first_e2",
    ),
    _fault(
        "an Inform has an event twice",
        "    once = list(dict.fromkeys(events))\n",
        "    once = list(events)\n",
        "test_every_cause_is_listed_once_in_the_order_of_the_table_e2",
    ),
    _fault(
        "a CommandKey is lost over the reboot",
        'self.code.startswith(("M ", "X "))',
        'self.code.startswith("X ")',
        "test_command_keys_outlive_the_reboot_e16",
    ),
    _fault(
        "what is kept goes before the trial does",
        "    if root.status(TRIAL) is not None or root.status(KEPT_TXN) is None:\n",
        "    if root.status(KEPT_TXN) is None:\n",
        "test_a_kill_leaves_what_was_or_what_is_to_be",
    ),
    _fault(
        "the trial is written before the commit",
        "            texts[TRIAL] = trial.encode()\n",
        "            transaction.write_whole(root, TRIAL, trial.encode())\n",
        "test_a_kill_leaves_what_was_or_what_is_to_be",
    ),
    _fault(
        "a confirmed trial ends before it is in the record",
        "        _change(root, [], [TRIAL], texts, committing)\n",
        "        root.unlink(TRIAL)\n        _change(root, [], [], texts, committing)\n",
        "test_a_kill_leaves_what_was_or_what_is_to_be",
    ),
    _fault(
        "a confirmation leaves the trial",
        "        _change(root, [], [TRIAL], texts, committing)\n",
        "        _change(root, [], [], texts, committing)\n",
        "test_without_a_trial_there_is_nothing_to_go_back_to",
    ),
    _fault(
        "a boot is not counted durably",
        "    root.rename(draft, TRIAL)\n    root.sync_directory(OWN)\n",
        "    root.rename(draft, TRIAL)\n",
        "test_a_power_cut_leaves_what_was_or_what_is_to_be",
    ),
    _fault(
        "a boot is counted twice",
        "boot.identity in {self.boot, self.last_boot}:\n",
        "boot.identity == self.boot:\n",
        "test_a_boot_counts_once_and_that_of_the_installation_does_not",
    ),
    _fault(
        "a file that is moved has no second name",
        '                root.link(step.source, (*TXN, SECOND, b"%d" % step.number))\n',
        "                pass\n",
        "test_since_the_installation",
    ),
    _fault(
        "nothing is reserved for going back",
        "    _fill_reserve(root, (*TXN, RESERVE_NAME), steps)\n",
        "",
        "test_room_is_reserved_for_going_back_and_again_after_a_boot_took_it",
    ),
    _fault(
        "what others made is removed where it is in the way",
        "            if not self._is_ours(path, found):\n                self._set_aside",
        "            if not self._is_ours(path, found) and False:\n                self._set_aside",
        "test_since_the_installation",
    ),
    _fault(
        "what others made in a new directory goes with it",
        "                    self._spare_others(path)\n",
        "                    pass\n",
        "test_since_the_installation",
    ),
    _fault(
        "what was rolled back is not in the record",
        "        rolled_back=(gone, *(one for one in found.rolled_back if one.package != event.package)),",
        "        rolled_back=found.rolled_back,",
        "test_what_was_rolled_back_is_refused_until_it_is_wanted_again",
    ),
    _fault(
        "an installation in place that had stopped is forgotten",
        "            if step.path == CHECKPOINT and step.before is not Before.NOTHING:\n",
        "            if step.path == CHECKPOINT and step.before is Before.NOTHING:\n",
        "test_an_installation_in_place_that_had_stopped_is_unfinished_again",
    ),
    _fault(
        "going back looks below what it sets aside",
        "        return None if path[:-1] in self._new else self.tree.entry(path)\n",
        "        return self.tree.entry(path)\n",
        "test_directories_are_made_again_below_what_was_set_aside",
    ),
    _fault(
        "a server that refused a range is asked for one again",
        "            self._resumes = False\n",
        "",
        "test_a_resume_that_is_not_honoured_becomes_a_fresh_start",
    ),
    _fault(
        "authorities of the environment are trusted",
        "context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)",
        "context = ssl.create_default_context()",
        "test_the_environment_makes_nobody_trusted",
    ),
    _fault(
        "what is for one server goes to the one that a redirect leads to",
        "        if location.origin != self._location.origin:\n",
        "        if location.scheme != self._location.scheme:\n",
        "test_no_header_goes_to_another_server",
    ),
    _fault(
        "a command list longer than its limit",
        "if length > MAX_COMMAND_LIST:",
        "if length > 2 * MAX_COMMAND_LIST:",
        "test_the_library_says_what_the_vector_expects",
    ),
    _fault(
        "a frame that is not read to its end",
        "if kind is None and self._reader.left:",
        "if False:",
        "test_the_library_says_what_the_vector_expects",
    ),
    _fault(
        "numbers in the wrong order of octets",
        'return int.from_bytes(self.take(4, field), "big")',
        'return int.from_bytes(self.take(4, field), "little")',
        "test_the_library_says_what_the_vector_expects",
    ),
    _fault(
        "fields that overlap",
        "if any(span.offset < other.end and other.offset < span.end for other in taken):",
        "if False:",
        "test_the_library_says_what_the_vector_expects",
    ),
    _fault(
        "a field inside the fixed part",
        "if span.offset < fixed:",
        "if span.offset < fixed - 4:",
        "test_the_library_says_what_the_vector_expects",
    ),
    _fault(
        "arguments behind a standard role",
        "if record.arguments and record.role in ROLES.values() and not later:",
        "if False:",
        "test_the_library_says_what_the_vector_expects",
    ),
    _fault(
        "Reboot that is not the last",
        "case Reboot() if follower is not None and follower.code != End.CODE:",
        "case Reboot() if False:",
        "test_the_library_says_what_the_vector_expects",
    ),
    _fault(
        "an identifier of several octets",
        "if tag & LONG_TAG == LONG_TAG:",
        "if False:",
        "test_an_identifier_of_several_octets_is_refused",
    ),
    _fault(
        "a content inside the signature",
        "if len(content_info) != 1:",
        "if False:",
        "test_the_library_says_what_the_vector_expects",
    ),
    _fault(
        "an object identifier not in DER",
        "if shortest != octets:",
        "if False:",
        "test_what_is_no_block_is_refused_with_its_reason",
    ),
    _fault(
        "the error of the last file that failed, not of the first one",
        "if number < self._failed:",
        "if True:",
        "test_of_two_failures_the_first_in_order_is_reported_whichever_came_first",
    ),
    _fault(
        "a piece that is overwritten before it is hashed",
        "pieces=PIECES_AHEAD",
        "pieces=1",
        "test_several_jobs_install_what_one_installs",
    ),
    _fault(
        "a directory that stays open whatever others do with it",
        "if self._uses >= STAY or self._crowded:",
        "if self._crowded:",
        "test_a_directory_that_others_move_is_found_again_after_a_few_operations",
    ),
    _fault(
        "a directory that stays open after the root itself moved it",
        "if known[: len(path)] == path]:",
        "if False]:",
        "test_a_directory_that_the_root_moves_itself_is_left_at_once",
    ),
    _fault(
        "an unsigned package",
        "if not policy.unsafe_allow_unsigned:",
        "if policy.signers:",
        "test_an_unsigned_package_is_trusted_only_by_name",
    ),
    _fault(
        "fewer signers than required",
        "if len(signers) < required:",
        "if not signers:",
        "test_an_unsigned_package_is_trusted_only_by_name",
    ),
    _fault(
        "attributes that are not sorted",
        "if octets != sorted(octets):",
        "if False:",
        "test_the_library_says_what_the_vector_expects",
    ),
    _fault(
        "an attribute that occurs twice",
        "if len(values) != len(octets):",
        "if False:",
        "test_the_library_says_what_the_vector_expects",
    ),
    _fault(
        "a digest of other octets",
        "if values.get(MESSAGE_DIGEST) != (tlv(OCTET_STRING, digest.of(message)),):",
        "if MESSAGE_DIGEST not in values:",
        "test_the_library_says_what_the_vector_expects",
    ),
    _fault(
        "a content type that is another",
        "if values.get(CONTENT_TYPE) != (DATA_OCTETS,):",
        "if CONTENT_TYPE not in values:",
        "test_the_library_says_what_the_vector_expects",
    ),
    _fault(
        "a certification authority that signs",
        "if constraints is not None and constraints.ca and not policy.is_anchor(certificate):",
        "if False:",
        "test_the_library_says_what_the_vector_expects",
    ),
    _fault(
        "a certificate for no signatures",
        "if usage is not None and not usage.digital_signature:",
        "if False:",
        "test_the_library_says_what_the_vector_expects",
    ),
    _fault(
        "a purpose that is another",
        "if extended is not None and purposes.isdisjoint(purpose.dotted_string for purpose in extended):",
        "if False:",
        "test_the_library_says_what_the_vector_expects",
    ),
    _fault(
        "a key that is not the certificate's",
        "    if signer.public_key != certificate.public_key():\n",
        "    if False:\n",
        "test_a_key_of_another_certificate_is_refused",
    ),
    _fault(
        "a certificate signs that OpenSSL refuses",
        "        build_path(certificate, find_issuers(certificate, (certificate,), ()), alone, None)\n",
        "        pass\n",
        "test_a_certificate_that_no_verifier_takes_is_doubted_when_it_signs",
    ),
    _fault(
        "a URI of a key in capitals is taken for a file",
        "if name[: len(one)].lower() == one",
        "if name.startswith(one)",
        "test_a_pin_on_the_command_line_is_refused_and_never_shown",
    ),
    _fault(
        "a package that its hook rolled back counts as installed",
        "    if _is_taken_back(root, package):\n        settled()\n",
        "    if False:\n        settled()\n",
        "test_a_hook_that_goes_back_itself_has_taken_the_package_back",
    ),
    _fault(
        "a signature made elsewhere is attached unseen",
        "    check_one_signature(block, index, package.signed, request.certificate, request.digest)\n",
        "    del index\n",
        "test_a_signature_that_does_not_hold_is_4",
    ),
    _fault(
        "a signature for another package is attached",
        "    if request.package != _identity(package):\n",
        "    if False:\n",
        "test_another_packages_request_is_5",
    ),
    _fault(
        "revocation lists among the anchors are not looked at",
        '        settings["crls"] = (*settings.get("crls", ()), *found.crls)\n',
        "",
        "test_a_set_with_a_revocation_list_refuses_who_is_on_it",
    ),
    _fault(
        "a revocation list without an end is current for ever",
        "if crl.next_update_utc is None or at > crl.next_update_utc else None",
        "if crl.next_update_utc is not None and at > crl.next_update_utc else None",
        "test_a_list_without_an_end_is_not_current_for_ever",
        "test_a_list_of_an_intermediate_without_an_end_is_refused_too",
    ),
    _fault(
        "revocation is checked at the signing time",
        "check_revocation(self.path, self._policy, self._at)",
        "check_revocation(self.path, self._policy, self._when)",
        "test_revocation_lists_are_checked_now_whatever_the_signing_time",
    ),
    _fault(
        "the signer's certificate needs no revocation list",
        "required = rule is RevocationRule.REQUIRE_CHAIN or (rule is RevocationRule.REQUIRE and number == 0)",
        "required = rule is RevocationRule.REQUIRE_CHAIN",
        "test_the_rule_decides_which_certificates_need_a_list",
    ),
    _fault(
        "an intermediate may be for another purpose",
        '            _check_extended(step, purposes, f"the certificate of {subject_of(step)}")\n',
        "            pass\n",
        "test_an_intermediate_for_another_purpose_vouches_for_no_signer",
    ),
    _fault(
        "the floor of the clock does not count",
        "now = at if self.not_before is None else max(at, self.not_before)",
        "now = at",
        "test_the_floor_helps_a_clock_that_was_never_set",
    ),
    _fault(
        "a signing time to come is believed",
        "return min(signing_time, now)",
        "return signing_time",
        "test_a_signing_time_to_come_counts_as_now",
    ),
    _fault(
        "grace never ends",
        "if at > end and at - end > grace:",
        "if at > end and not grace:",
        "test_grace_ends_to_the_second",
    ),
    _fault(
        "any key on the path is as good as a pinned one",
        "            if pin_of(step) in pins:\n",
        "            if pins:\n",
        "test_without_a_pinned_key_the_own_one_is_named",
    ),
    _fault(
        "the smallest key of a policy does not count",
        "            if isinstance(key, rsa.RSAPublicKey):\n                if key.key_size < least:\n",
        "            if isinstance(key, rsa.RSAPublicKey):\n                if False:\n",
        "test_the_smallest_key_counts_on_the_whole_path",
    ),
    _fault(
        "SHA-1 on the path of a certificate",
        "            check_hash(step, subject_of(step), self._policy)\n",
        "            pass\n",
        "test_without_sha_1_a_certificate_signed_with_it_is_refused",
    ),
    _fault(
        "all namesakes of an issuer are tried",
        "candidates[:MAX_NAMESAKES]",
        "candidates",
        "test_of_many_namesakes_only_a_few_are_tried",
    ),
    _fault(
        "a missing issuer is not warned of",
        "    return issuer_of(certificate) if len(found.chain) == 1 else None\n",
        "    return None\n",
        "test_the_issuer_of_a_signer_is_missing_unless_it_is_embedded_or_trusted",
    ),
    _fault(
        "an anchor that can't be used is left out in silence",
        '                found.findings.append(Finding(code="certificate-skipped", message=message))\n',
        "",
        "test_what_can_t_be_used_is_skipped_and_named",
    ),
    _fault(
        "a key of a policy that nobody knows",
        '    with obstacles.collecting():\n        table.finish()\n    if "anchors"',
        '    if "anchors"',
        "test_what_is_wrong_is_refused_where_it_stands",
    ),
    _fault(
        "a certificate that is over signs",
        "    if unfit and not unsafe_unfit_certificate:\n",
        "    if False:\n",
        "test_a_certificate_that_is_over_signs_only_where_that_is_said",
    ),
    _fault(
        "a key for PSS signs",
        "    if certificate.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS:\n",
        "    if False:\n",
        "test_a_key_that_no_verifier_takes_signs_nothing_whatever_is_accepted",
    ),
    _fault(
        "what a device would not trust gets its name",
        "                if policy is not None:\n                    verify_written(file",
        "                if policy is None:\n                    verify_written(file",
        "test_a_package_that_its_device_would_not_trust_does_not_appear",
    ),
    _fault(
        "a voucher that a device would not trust is written",
        "                check.check(issued.octets)\n            _write",
        "                pass\n            _write",
        "test_a_voucher_that_its_device_would_not_trust_is_not_written",
    ),
    _fault(
        "a voucher stands for several signers",
        "        only_signature(self._policy)\n        digest = check_method",
        "        digest = check_method",
        "test_a_voucher_has_one_signature_and_no_policy_that_wants_two",
    ),
    _fault(
        "a signature of a program is believed",
        "        check_signature(self.public_key, digest, hashed, signature, self.command[0])\n",
        "",
        "test_what_is_no_signature_is_said",
    ),
    _fault(
        "a program answers without a limit",
        "            longest_answer=LONGEST_ANSWER,\n",
        "            longest_answer=1 << 40,\n",
        "test_what_is_no_signature_is_said",
    ),
    _fault(
        "a program signs for an hour",
        "            limit=TIME_LIMIT,\n            given=",
        "            limit=3600.0,\n            given=",
        "test_it_has_a_minute",
    ),
    _fault(
        "a program that signs gets the passphrase of the key",
        "environment={name: value for name, value in os.environ.items() if name != key_password_env},",
        "environment=dict(os.environ),",
        "test_a_program_that_signs_does_not_get_the_passphrase",
    ),
    _fault(
        "a PIN on the command line",
        '        if name.lower() == "pin-value":\n',
        '        if name == "pin-values":\n',
        "test_a_uri_that_names_no_key_is_refused",
    ),
    _fault(
        "a payload of another type is attested",
        "    if envelope.payload_type != PAYLOAD_TYPE:\n",
        "    if False:\n",
        "test_another_type_of_payload_is_malformed",
    ),
    _fault(
        "characters are counted in what an attestation signs",
        "(len(kind), kind, len(payload), payload)",
        "(len(payload_type), kind, len(payload), payload)",
        "test_what_is_signed_counts_bytes_and_not_characters",
    ),
    _fault(
        "sign --replace replaces both digests",
        " and one.digest_algorithm.name == digest.value\n        }\n",
        "\n        }\n",
        "test_replace_leaves_the_signature_with_another_digest",
    ),
    _fault(
        "an explanation ends with the first rule that is not met",
        "    return tuple(judge.rules()), judge.issuers, judge.path\n",
        "    return tuple(rule for rule in judge.rules() if rule.error is None), judge.issuers, judge.path\n",
        "test_the_explanation_and_the_verdict_agree",
    ),
    _fault(
        "a signer who was not asked for",
        "if not _is_named(self._certificate, accepted):",
        "if False:",
        "test_another_name_is_refused",
    ),
    _fault(
        "a key that is too short",
        "if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:",
        "if not 512 <= key.key_size <= MAX_RSA_BITS:",
        "test_the_library_says_what_the_vector_expects",
    ),
    _fault(
        "a digest that is not accepted",
        '    if digest not in policy.digests:\n        raise UntrustedError(f"the policy',
        '    if False:\n        raise UntrustedError(f"the policy',
        "test_without_sha_1_a_sha_1_signature_is_refused",
    ),
    _fault(
        "a certificate that is over",
        "if at > end:",
        "if False:",
        "test_a_certificate_that_no_verifier_takes_is_doubted_when_it_signs",
    ),
    _fault(
        "SHA-1 contents where SHA-256 is stated",
        "elif file.sha256 is not None and digests[Digest.SHA256] != file.sha256:",
        "elif False:",
        "test_the_library_says_what_the_vector_expects",
    ),
    _fault(
        "contents of another digest",
        "if digests[Digest.SHA1] != file.record.hash:",
        "if False:",
        "test_one_flipped_bit_is_found_wherever_it_is",
    ),
    _fault(
        "SHA-256 as the default digest of sign_package",
        "    digest: Digest = Digest.SHA1,\n    signing_time: datetime | None = None,\n    replacing",
        "    digest: Digest = Digest.SHA256,\n    signing_time: datetime | None = None,\n    replacing",
        "test_who_does_not_say_which_digest_signs_with_sha_1",
    ),
    _fault(
        "the maximum version element by element",
        "return _first_elements(version, len(bound)) <= tuple(bound)",
        "return all(map(int.__le__, _first_elements(version, len(bound)), bound))",
        "test_a_version_in_the_range_passes",
    ),
    _fault(
        "the minimum version without its last element",
        "return _first_elements(version, len(bound)) >= tuple(bound)",
        "return _first_elements(version, len(bound))[:-1] >= tuple(bound)[:-1]",
        "test_a_version_outside_the_range_is_refused",
    ),
    _fault(
        "the first version in octet order moves",
        "return min(decimal)[1] if decimal else min(names)",
        "return min(names)",
        "test_the_lowest_decimal_version_moves_also_where_another_is_first_in_octet_order",
    ),
    _fault(
        "a role that is not accepted",
        "if role not in accepted:",
        "if False:",
        "test_a_role_that_is_not_the_device_s_is_refused",
    ),
    _fault(
        "storage compared with what is smaller",
        "if size < record.storage_size:",
        "if size <= record.storage_size:",
        "test_storage_is_what_the_device_states_or_else_what_is_measured",
    ),
    _fault(
        "attributes of which one would do",
        "elif known.isdisjoint(record.attributes):",
        "elif not known.issuperset(record.attributes):",
        "test_one_of_the_attributes_is_enough",
    ),
    _fault(
        "an Add over a file that is there",
        "if isinstance(record, Add | AddVersioned) and (old is not None or versions):",
        "if isinstance(record, Add | AddVersioned) and versions:",
        "test_extract_replaces_a_file_and_add_does_not",
    ),
    _fault(
        "a link that leads on for ever",
        "if followed > MAX_LINKS_FOLLOWED:",
        "if followed > 1 << 12:",
        "test_forty_links_are_followed_and_one_more_is_not",
    ),
    _fault(
        "a path through a mount",
        "if here in self._mounts:",
        "if False:",
        "test_a_link_that_leads_where_nothing_can_be_done_is_refused",
    ),
    _fault(
        "the installer's own directory",
        "if entry.own:\n            raise",
        "if False:\n            raise",
        "test_the_installer_s_own_directory_is_known_by_more_than_its_name",
    ),
    _fault(
        "files that are too much for the device",
        "if most is not None and written > most:",
        "if False:",
        "test_each_failure_has_its_status_and_its_fault_and_changes_nothing",
    ),
    _fault(
        "a staged file that has another name",
        "found.st_nlink != 1",
        "False",
        "test_only_a_file_of_our_own_with_one_name_is_gone_on_with",
    ),
    _fault(
        "any directory of others as our own",
        "if found.st_uid not in {0, os.geteuid()} or found.st_mode & OTHERS_WRITE:",
        "if False:",
        "test_the_installer_s_own_directory_is_nobody_else_s",
    ),
    _fault(
        "a journal before what is staged is durable",
        "if root.layered or keeping is not None or puts + len(made) > SYNCED_ONE_BY_ONE:",
        "if False:",
        "test_a_power_cut_leaves_what_was_or_what_is_to_be",
    ),
    _fault(
        "no way back",
        "if is_there(root, BACK):",
        "if False:",
        "test_a_failing_file_system_leaves_what_is_reported",
    ),
    _fault(
        "no sync of what a command in place finds done",
        "if load_checkpoint(root) is not None:\n                # The effect",
        "if False:\n                # The effect",
        "test_what_is_installed_after_a_kill_survives_a_power_cut",
        "test_what_another_package_finds_done_survives_a_power_cut",
    ),
    _fault(
        "no sync of what a package finds that ends one in place",
        "root.sync_all()  # the plan counts",
        "pass  # the plan counts",
        "test_what_another_package_finds_done_survives_a_power_cut",
    ),
    _fault(
        "no sync of a directory made in place",
        "root.sync_directory(made)",
        "pass",
        "test_a_power_cut_in_place_leaves_the_truth_and_the_same_package_goes_on",
    ),
    _fault(
        "no sync of the record and the checkpoint that are there",
        "root.sync_directory(OWN)\n        root.sync_directory(())",
        "pass",
        "test_what_is_installed_after_a_kill_survives_a_power_cut",
    ),
    _fault(
        "no sync of the installer's own directory that is there",
        "root.sync_directory(OWN)\n        root.sync_directory(())",
        "root.sync_directory(OWN)",
        "test_a_power_cut_in_place_leaves_the_truth_and_the_same_package_goes_on",
    ),
    _fault(
        "no sync of what two killed children have done",
        "after.ensure_durable(opened)",
        "pass",
        "test_what_is_said_after_two_kills_is_true_also_after_a_power_cut",
    ),
    _fault(
        "a recovery that stopped told as if nothing had changed",
        "if is_half_done(root) or installed_by(trusted, root, request) is not None:",
        "if False:",
        "test_what_is_said_while_a_fault_stays_over_the_recovery_is_true",
    ),
    _fault(
        "a recovery that could not begin told as if nothing had changed",
        "except OSError as exc:  # the one that was killed may have left the tree half-changed",
        "except MemoryError as exc:",
        "test_what_is_said_while_a_fault_stays_over_the_recovery_is_true",
    ),
    _fault(
        "both names of a file that was moved, on btrfs",
        "elif _has_both_names(root, path, there):",
        "elif False:",
        "test_a_file_that_is_moved_has_one_name_after_a_power_cut",
    ),
    _fault(
        "installing while another does",
        "if not free:",
        "if False:",
        "test_two_installers_do_not_work_in_one_root",
    ),
    _fault(
        "what is installed twice",
        "if is_installed(trusted, root) and not request.again:\n            if not arriving:",
        "if False:\n            if not arriving:",
        "test_a_package_that_comes_again_changes_nothing",
    ),
    _fault(
        "a state that is milder than the truth",
        "if found is not None and found.unsafe:\n        return",
        "if False:\n        return",
        "test_in_place_each_cut_leaves_the_truth_on_disk_and_the_same_package_goes_on",
    ),
    _fault(
        "a failure in the unsafe state told as a failure",
        "    if at.unsafe:\n",
        "    if False:\n",
        "test_what_a_failed_transfer_leaves_in_place_is_what_the_state_says",
    ),
    _fault(
        "StartTime and CompleteTime exchanged",
        "applied, planned=dry_run, start=start, end=end, command_key=command_key, hooks=hooks",
        "applied, planned=dry_run, start=end, end=start, command_key=command_key, hooks=hooks",
        "test_the_times_are_those_of_the_beginning_and_of_the_end",
    ),
    _fault(
        "StartTime and CompleteTime exchanged in a failure",
        '"reason": error.reason,\n        "start_time": start,\n        "complete_time": end,',
        '"reason": error.reason,\n        "start_time": end,\n        "complete_time": start,',
        "test_the_times_are_those_of_the_beginning_and_of_the_end",
    ),
    _fault(
        "a FaultString of 257 characters",
        "str(error)[:MAX_FAULT_STRING]",
        "str(error)[: MAX_FAULT_STRING + 1]",
        "test_each_failure_has_its_status_and_its_fault_and_changes_nothing",
    ),
    _fault(
        "no room told as any refusal",
        'the device accepts {most}", reason=NO_ROOM)',
        'the device accepts {most}")',
        "test_each_failure_has_its_status_and_its_fault_and_changes_nothing",
    ),
    _fault(
        "a range from another version",
        'response.headers.get("ETag", validator) != validator',
        "False",
        "test_octets_that_were_not_asked_for_are_no_rest_of_the_file",
    ),
    _fault(
        "compressed octets",
        'if coding.strip().removeprefix("x-") in COMPRESSIONS:',
        "if False:",
        "test_compressed_octets_are_refused",
    ),
    _fault(
        "a redirect from https to http",
        'if moved.scheme not in {"https", location.scheme}:',
        "if False:",
        "test_a_redirect_to_elsewhere_is_refused",
    ),
    _fault(
        "a deadline that is not met",
        "return now >= self.at",
        "return now > self.at + 1",
        "test_the_deadline_is_that_of_the_tables",
    ),
    _fault(
        "front matter that is another now",
        "if octets != self._seen[done - len(octets) : done]:",
        "if False:",
        "test_another_package_in_the_middle_of_one_is_not_taken",
    ),
    _fault(
        "a file that changed while it was read",
        "if _identity_of(before) != _identity_of(after) or after.st_size != length:",
        "if False:",
        "test_a_source_that_changes_while_it_is_read_is_refused",
    ),
    _fault(
        "octets that equal ones share",
        "if first == start or not self._sharing:",
        "if True:",
        "test_equal_files_are_stored_once",
    ),
    _fault(
        "an output that exists",
        "if not force:\n        raise UsageError",
        "if False:\n        raise UsageError",
        "test_a_file_that_exists_is_not_overwritten",
    ),
    _fault(
        "a voucher for another device",
        "if not named.is_same_device(own):",
        "if False:",
        "test_a_voucher_for_another_device_is_refused",
    ),
    _fault(
        "two instructions for one Option",
        "if option.ident in lives:",
        "if False:",
        "test_two_instructions_for_one_option_are_refused",
    ),
    _fault(
        "a voucher that is over",
        "if life.is_over(now):",
        "if False:",
        "test_an_option_that_is_over_on_arrival_is_refused",
    ),
    _fault(
        "a new provider ends what is transferable",
        "if self.transferable or self.ending is not None or self.mode is Mode.DISABLE:",
        "if self.ending is not None or self.mode is Mode.DISABLE:",
        "test_a_provider_that_was_not_observed_yet_ends_the_same_in_what_is_told_and_nothing_else",
    ),
    _fault(
        "a provider that was not observed yet",
        "if None in {before, provisioning_code} or before == provisioning_code:",
        "if True:",
        "test_a_provider_that_was_not_observed_yet_ends_the_same_in_what_is_told_and_nothing_else",
    ),
    _fault(
        "names in the encoding of the locale",
        'return os.fsdecode(name.encode("utf-8", "surrogateescape"))',
        "return name",
        "test_extract_and_apply_write_the_names_of_the_package",
    ),
    _fault(
        "one file that is printed unverified",
        "    check_file(file, copier.digests)",
        "    pass",
        "test_not_one_octet_is_printed_before_it_is_verified",
    ),
    _fault(
        "a file that can't be checked, skipped",
        "            if isinstance(command.record, UncheckedCommand):",
        "            if False:",
        "test_a_file_that_can_not_be_checked_is_refused_with_all_others",
    ),
    _fault(
        "a fault that GetOptions does not know",
        "refused = code is FaultCode.RESOURCES_EXCEEDED and isinstance(error, RefusedError)",
        "refused = False",
        "test_get_options_knows_no_9004",
    ),
    _fault(
        "a signature of an executor, taken as it is",
        "check_signature(signer.public_key, signer.digest, unsigned.hashed, signature, SIGNATURE_MAKER)",
        "pass",
        "test_what_an_executor_answers_is_verified",
    ),
    _fault(
        "a key that is sent to another process",
        'raise UsageError("a key is not sent to another process", hint=hint)',
        "return super().__reduce__()",
        "test_a_key_itself_is_never_sent",
    ),
    _fault(
        "a bulk output that nobody confirmed",
        "if os.path.lexists(path) and not _taken_back(path, part):",
        "if os.path.lexists(path):",
        "test_what_was_not_confirmed_is_started_over",
    ),
    _fault(
        "a voucher that comes again",
        "if life.content not in known:",
        "if False:",
        "test_a_serial_that_was_used_is_refused_for_other_contents",
    ),
    _fault(
        "months of 30 days",
        "min(start.day, last)",
        "min(start.day, 30)",
        "test_a_duration_ends_by_the_calendar",
    ),
    _fault(
        "a zone that is added",
        'return local + away if found["sign"] == "-" else local - away',
        'return local - away if found["sign"] == "-" else local + away',
        "test_a_date_time_is_read_in_utc",
    ),
    _fault(
        "a serial number that is taken",
        "if not asked.waiting:\n                break",
        "if True:\n                break",
        "test_numbers_count_on_from_one_over_options_and_devices",
    ),
    _fault(
        "no sync of what a store has already",
        "if not any(new for _, new in done):",
        "if False:",
        "test_what_is_told_to_be_done_already_is_on_the_disk",
    ),
    _fault(
        "64 vouchers and one more",
        "if len(vouchers) > MAX_VOUCHERS:",
        "if False:",
        "test_vouchers_beyond_what_a_list_may_have_are_refused",
    ),
    _fault(
        "a key that KeyValue has not",
        "if document.key_value not in {None, key_value}:",
        "if False:",
        "test_a_key_that_is_not_that_of_the_certificate_is_refused",
    ),
    _fault(
        "two Objects of one Id",
        "if len({*names}) != count:",
        "if False:",
        "test_no_wrapped_signature_is_taken",
    ),
    _fault(
        "a document type declaration",
        "if doctype >= 0:",
        "if False:",
        "test_no_document_type_is_taken",
    ),
    _fault(
        "text between elements",
        "if text and text.strip(XML_BLANKS):",
        "if False:",
        "test_a_genuine_signature_excuses_no_other_shape",
    ),
    _fault(
        "another canonicalization",
        "if _algorithm(canonicalization) != C14N:",
        "if False:",
        "test_a_genuine_signature_excuses_no_other_shape",
    ),
    _fault(
        "a signature of another length",
        "if scheme.uri != document.method or len(document.signature) != scheme.length:",
        "if scheme.uri != document.method:",
        "test_no_signature_is_padded",
    ),
    _fault(
        "more members than stated",
        "if stated is not None and int(stated[1]) != len(members):",
        "if False:",
        "test_an_array_holds_as_many_members_as_its_type_says",
    ),
    _fault(
        "a header that must be understood",
        'return XML_BOOLEANS.get(header.get(f"{{{SOAP}}}mustUnderstand") or "0", True)',
        "return False",
        "test_an_unknown_header_that_must_be_understood_fails_the_request",
    ),
    _fault(
        "a method that is not known",
        "if request.body is not None and method is None:",
        "if False:",
        "test_an_answer_and_a_fault_repeat_the_id_of_the_request",
    ),
    _fault(
        "spaces lost from a CSV cell",
        'if "id" in header or ',
        "if ",
        "test_columns_are_found_by_their_names",
    ),
    _fault(
        "ABI 1 confined",
        "    if version < RENAMES_FROM:\n",
        "    if version < 1:\n",
        "test_under_each_version_of_landlock_everything_can_be_installed",
    ),
    _fault(
        "rubbish fatal",
        "    for path in _spent(root):\n        root.sweep(path)",
        "    for path in _spent(root):\n        root.remove_tree(path)",
        "test_nothing_that_is_left_over_blocks_anything",
    ),
    _fault(
        "a network that is open to the installer",
        "if _libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0 or _call(RESTRICT_SELF, rules, 0) != 0:",
        "if False:",
        "test_nothing_else_can_be_changed_nor_read",
    ),
    _fault(
        "a mode wider than that of its source",
        "(EXECUTABLE_MODE if mode & stat.S_IXUSR else PLAIN_MODE) & (stat.S_IRWXU | mode)",
        "(EXECUTABLE_MODE if mode & stat.S_IXUSR else PLAIN_MODE)",
        "test_no_mode_is_wider_than_the_source_for_group_and_others",
    ),
    _fault(
        "a mode of the device that is widened without a word",
        "if stated and own is not None and widened(stated, own):",
        "if False:",
        "test_a_mode_comes_from_the_first_of_five_that_says",
    ),
    _fault(
        "an attestation of another package",
        "        if digests[-1] == bytes.fromhex(signed):\n",
        "        if True:\n",
        "test_a_statement_about_another_package_is_refused",
    ),
    _fault(
        "an attestation by anybody",
        "return check_signer(certificate, pool, policy, at)",
        "return (certificate,)",
        "test_a_signer_that_could_not_sign_the_package_cannot_sign_a_statement",
    ),
    _fault(
        "an attestation of another payload",
        "if self.payload_sha256 not in {None, digest}:",
        "if False:",
        "test_the_payload_digest_is_compared_where_it_is_stated",
    ),
    _fault(
        "JSON in which a key occurs twice",
        "    if len(found) != len(pairs):\n        names",
        "    if False:\n        names",
        "test_what_readers_differ_on_is_refused_with_its_place",
    ),
    _fault(
        "a bill of materials that stays where its package does not appear",
        "        elif appeared:\n            beside.unlink()\n",
        "",
        "test_of_two_files_the_first_to_appear_goes_again_when_the_other_fails",
    ),
    _fault(
        "metadata in any form",
        "return entries if codec.encode(entries) == octets else None",
        "return entries",
        "test_another_form_is_an_unknown_command",
    ),
    _fault(
        "what is filled in is filled again",
        "        value = self._definitions[name]\n",
        "        value = PLACEHOLDER.sub(lambda one: self._meaning(one, path), self._definitions[name])\n",
        "test_a_placeholder_is_filled_once",
    ),
    _fault(
        "a source that has changed since it was described",
        "if (length, sha1, sha256) != (contents.length, contents.sha1, contents.sha256):",
        "if False:",
        "test_a_source_that_changes_before_it_is_piped_is_refused",
    ),
    _fault(
        "the first problem alone",
        "first.others, first.unlisted = tuple(others), self._count - len(self._found)",
        "first.others, first.unlisted = (), 0",
        "test_all_that_is_wrong_is_told_at_once_with_its_lines",
    ),
    _fault(
        "an overlayfs copies after the commit",
        "        bring_up(root, steps)\n",
        "        pass\n",
        "test_an_overlayfs_copies_nothing_after_the_commit",
    ),
    _fault(
        "a tree of a lower layer is renamed",
        "if root.can_move(step.path, obstacle):",
        "if True:",
        "test_a_power_cut_leaves_the_old_tree_or_the_new",
    ),
    _fault(
        "what was removed entry by entry is not put back",
        'put_back(root, slot(b"old", step), step.path)',
        "pass",
        "test_a_second_fault_on_the_way_back_leaves_what_is_reported",
    ),
    _fault(
        "room is not counted in place",
        "RoomLeft(tree, room, sizes) if in_place else None",
        "None",
        "test_in_place_a_file_that_does_not_fit_at_its_time_is_refused_before_anything",
    ),
    _fault(
        "a file takes the place of a device",
        "if isinstance(old, Leaf) and old.entry.kind is EntryKind.OTHER:",
        "if False:",
        "test_a_device_is_not_replaced_by_a_file",
    ),
    _fault(
        "new files do not get the list of their directory",
        "heritage = self.overlay.heritage(directory)",
        "heritage = NO_HERITAGE",
        "test_new_entries_are_as_if_they_were_made_in_their_directory",
    ),
    _fault(
        "a package that is whole and timed out",
        "if deadline.passed(now) and not whole:",
        "if deadline.passed(now):",
        "test_what_follows_a_whole_package_is_seen_however_late_one_looks",
    ),
    _fault(
        "clocks that go on behind the list",
        "            payload.conclude()\n\n    payload.expect()",
        "            pass\n\n    payload.expect()",
        "test_no_deadline_holds_once_the_list_is_through",
    ),
    _fault(
        "unsigned bytes that are kept from an earlier fetch",
        'self._place = _Place(wanted, output, offset)\n\n    def begin(self) -> None:\n        """Go to',
        "self.range = wanted.behind(wanted.length)\n        self._place = _Place(wanted, output, offset)\n\n"
        '    def begin(self) -> None:\n        """Go to',
        "test_what_nobody_signed_is_never_taken_from_what_is_there",
    ),
    _fault(
        "an output that another run is writing, removed",
        "if lock(descriptor) and is_own(",
        "if is_own(",
        "test_what_another_run_is_writing_stays",
    ),
    _fault(
        "a file of somebody else that is gone on with",
        " and is_own(os.fstat(descriptor))",
        "",
        "test_what_belongs_to_somebody_else_stays_as_it_is",
    ),
    _fault(
        "an FTP server without REST that is asked for the rest again",
        'if cmd.startswith("REST ") and not',
        'if cmd.startswith("REST ") and False and not',
        "test_a_server_that_does_not_resume_is_asked_once_and_begins_anew",
    ),
    _fault(
        "block numbers of TFTP that only begin again at 0",
        "frozenset({0, 1} if",
        "frozenset({0} if",
        "test_numbers_of_blocks_begin_again_at_0_or_at_1",
    ),
    _fault(
        "a stranger's blocks of TFTP",
        "+ BLOCK + 1)\n        if self._peer is None and host_of(sender) == host_of(self._address):\n"
        "            self._peer = sender\n        if sender == self._peer:\n",
        "+ BLOCK + 1)\n        if self._peer is None and host_of(sender) == host_of(self._address):\n"
        "            self._peer = sender\n        if sender:\n",
        "test_whatever_a_server_does_the_file_is_right",
    ),
    _fault(
        "a hook that refuses is not heeded",
        'if run is None or run.run.succeeded:\n            return {}\n        return {"problem": f"the hook',
        'if run is None or run:\n            return {}\n        return {"problem": f"the hook',
        "test_a_hook_can_refuse_a_package",
    ),
    _fault(
        "a handler that fails is not heeded",
        'return {} if run.run.succeeded else {"problem": f"{path}: the handler',
        'return {} if run else {"problem": f"{path}: the handler',
        "test_a_handler_that_fails_leaves_the_tree_as_before",
    ),
    _fault(
        "a hook that does not approve is not heeded",
        'return "" if run is None or run.run.succeeded else f"the hook \'after\'',
        'return "" if run is None or run else f"the hook \'after\'',
        "test_a_hook_that_fails_takes_the_package_back",
    ),
    _fault(
        "a hook gets the whole environment",
        'self._environment = {"PATH": environment.get("PATH") or os.defpath}',
        "self._environment = dict(environment)",
        "test_a_hook_gets_the_plan_and_a_few_variables_and_nothing_else",
    ),
    _fault(
        "a handler runs before all is verified",
        "            report = _stage(plan, payload, root, steps, progress, jobs, sync=few)\n",
        "            try:\n"
        "                report = _stage(plan, payload, root, steps, progress, jobs, sync=few)\n"
        "            except Exception as exc:\n"
        "                _hand_over(plan, exc.report, root, handle)\n"
        "                raise\n",
        "test_no_handler_gets_a_file_of_a_package_that_is_damaged_anywhere",
    ),
    _fault(
        "a program has no limit",
        "until = None if self._limit is None else self._clock() + self._limit",
        "until = None",
        "test_past_its_limit_a_program_is_ended_with_all_that_it_started",
    ),
    _fault(
        "a program inherits descriptors",
        "if number >= FIRST_FREE and os.get_inheritable(number):",
        "if False:",
        "test_a_program_gets_arguments_environment_and_input_and_nothing_else",
    ),
    _fault(
        "a hook runs before the contents are verified",
        "        if payload.descriptor is not None and (request.in_place or prepares):",
        "        if payload.descriptor is not None and request.in_place:",
        "test_what_is_wrong_with_a_package_is_found_before_any_hook",
    ),
    _fault(
        "a request with a known key is carried out again",
        "                row = known.get(requests[index].key)\n",
        "                row = None\n",
        "test_the_same_key_gives_the_same_octets_and_issues_once",
    ),
    _fault(
        "a key that stands for another request",
        "    if row.request != request.digest:\n",
        "    if False:\n",
        "test_the_same_key_gives_the_same_octets_and_issues_once",
    ),
    _fault(
        "clients that share their keys",
        ".where(ANSWERS.c.client == requests[0].client, ANSWERS.c.key.in_(keys))\n",
        ".where(ANSWERS.c.key.in_(keys))\n",
        "test_clients_have_keys_of_their_own",
    ),
    _fault(
        "an answer before its voucher counts as issued",
        "            going.append((one, outcome.serials, one.write(outcome.serials, octets)))\n",
        "            kept = one.write(outcome.serials, octets)\n"
        "            one.tell(DeskAnswer(kept=kept, repeated=False))\n"
        "            going.append((one, outcome.serials, kept))\n",
        "test_a_request_that_died_half_way_is_completed_with_its_numbers",
    ),
    _fault(
        "a voided voucher as an answer",
        "                if request.want is not None and void:\n",
        "                if False:\n",
        "test_what_was_voided_before_it_was_completed_is_refused",
    ),
    _fault(
        "a scope that is not looked at",
        "        missing = sorted(scope.value for scope in endpoint.scopes - client.scopes)\n",
        "        missing = sorted(scope.value for scope in endpoint.scopes - endpoint.scopes)\n",
        "test_without_the_scope_there_is_403",
    ),
    _fault(
        "the digest of a token as a token",
        "        digest = sha256(match[1].encode()).hexdigest()\n",
        "        digest = match[1]\n",
        "test_without_a_valid_token_there_is_401",
    ),
    _fault(
        "a certificate beside a wrong token",
        "        if client is None and not given:\n",
        "        if client is None:\n",
        "test_a_client_certificate_counts_where_there_is_no_token",
    ),
    _fault(
        "a device twice, and another run between",
        "                if refusal is None and not given.add(answered[index].serials[0]):\n",
        "                if False:\n",
        "test_a_device_twice_in_a_list_gets_one_voucher_though_another_run_was_given_it_between",
    ),
    _fault(
        "tables of batches that no audit looks at",
        "    yield from batch_problems(connection)\n",
        "",
        "test_whatever_is_changed_of_batches_is_found",
    ),
    _fault(
        "a worker of another version that is given work",
        "        if version != __version__:\n",
        "        if False:\n",
        "test_a_worker_of_another_version_is_named",
    ),
    _fault(
        "a body of two lengths",
        '    if b"transfer-encoding" in names and (',
        '    if b"transfer-encoding" in names and False and (',
        "test_what_is_no_request_is_answered_with_a_problem",
        "test_a_body_in_pieces_that_are_none_is_no_request_behind_another",
    ),
    _fault(
        "a page of another site that may post",
        '        if request.method == "POST" and _is_of_another_site(request):\n',
        "        if False:\n",
        "test_a_page_of_another_site_can_not_post",
    ),
    _fault(
        "a client without a limit",
        "        if left >= 1:\n",
        "        if left >= 1 or self._rate:\n",
        "test_more_requests_than_allowed_are_429_and_others_go_on",
    ),
    _fault(
        "a body without an end",
        "                if len(body) > most:\n",
        "                if not most:\n",
        "test_a_malformed_body_is_refused",
    ),
    _fault(
        "a list without an end",
        "                if received > most:\n",
        "                if not most:\n",
        "test_a_list_that_is_too_long_reserves_nothing",
    ),
    _fault(
        "vouchers of a list before they count as issued",
        "                count = self.ledger.confirm_all(serial for one in done for serial in one.serials)\n",
        "                count = sum(len(one.serials) for one in done)\n",
        "test_the_vouchers_of_a_list_count_as_issued_when_they_are_sent",
    ),
    _fault(
        "a token in the log",
        "                client=client.name,\n",
        '                client=request.headers.get("authorization", ""),\n',
        "test_the_log_has_no_secrets",
    ),
    _fault(
        "tokens in the clear through a network",
        "        if self.tls is None and not self.unsafe_plain_http and not _is_loopback(self.host):\n",
        "        if self.tls is None and not self.unsafe_plain_http and not self.host:\n",
        "test_plain_http_is_for_loopback_alone_unless_the_file_says_so",
    ),
    _fault(
        "a length that hides what follows",
        "    if stated.isdecimal() and (len(stated) > 20 or int(stated) > most):\n",
        "    if stated.isdecimal() and len(stated) <= 20 and int(stated) > most:\n",
        "test_a_length_beyond_the_limit_is_refused_before_anything_is_read",
    ),
    _fault(
        "a renewal that no worker of a cluster signs",
        "            executor=executor,\n        )\n        estimated = count_",
        "            executor=None,\n        )\n        estimated = count_",
        "test_a_local_cluster_renews_what_ends_soon",
    ),
)


@contextmanager
def workshop() -> Iterator[Path]:
    """Give a copy of the project in which faults can be made."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    with TemporaryDirectory(prefix="faults-", dir=MEMORY if MEMORY.is_dir() else None) as place:
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).exists():
                (to := Path(place) / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, to, follow_symlinks=False)
        yield Path(place)


def sources(tree: Path = ROOT) -> dict[Path, str]:
    """Return the text of every module."""
    files = [path for one in SOURCES for path in [tree / one, *(tree / one).rglob("*.py")] if path.is_file()]
    return {path: path.read_text(encoding="utf-8") for path in files}


def module_of(fault: Fault, texts: Mapping[Path, str]) -> Path:
    """Return the module that a fault is made in.

    Raises:
        LookupError: Its text is in none, or more than once.
    """
    found = [path for path, text in texts.items() for _ in range(text.count(fault.old))]
    if len(found) != 1:
        raise LookupError(f"{fault.name}: its text is there {len(found)} times: {fault.old!r}")
    return found[0]


@cache
def _defined() -> dict[str, set[str]]:
    """Return in which files, relative to the project, tests of a name are."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name in re.findall(r"^ *def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE):
            found.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    return found


def selection(fault: Fault) -> list[str]:
    """Return the arguments of pytest that run the tests which find a fault.

    Raises:
        LookupError: A test of that name is nowhere.
    """
    missing = [name for name in fault.tests if name not in _defined()]
    if missing or not fault.tests:
        raise LookupError(f"{fault.name}: there is no test {', '.join(missing)}")
    files = sorted({file for name in fault.tests for file in _defined()[name]})
    return [*files, "-k", " or ".join(fault.tests)]


def all_of(faults: Sequence[Fault]) -> list[str]:
    """Return the arguments of pytest that run all tests of some faults."""
    files = {file for one in faults for file in selection(one)[:-2]}
    return [*sorted(files), "-k", " or ".join(sorted({name for one in faults for name in one.tests}))]


def run_tests(tree: Path, arguments: Sequence[str], patience: float = PATIENCE) -> int | None:
    """Run tests in a copy of the project; return how pytest ended, None where it came to no end."""
    ours = ("SPKG_", "PYTEST_", "COV_")
    settings = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    quiet = ("-x", "-q", "-p", "no:cacheprovider", "-m", "not proof or thinned")
    running = subprocess.Popen(
        [sys.executable, "-m", "pytest", *quiet, *arguments],
        cwd=tree,
        env={**settings, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return running.wait(patience)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with suppress(ProcessLookupError):  # with whatever it has left behind
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()


def hunt(fault: Fault, tree: Path) -> str:
    """Make a fault in a copy of the project; return ``found``, or what became of it."""
    texts = sources(tree)
    module = module_of(fault, texts)
    sound = texts[module]
    module.write_text(sound.replace(fault.old, fault.new), encoding="utf-8")
    try:
        status = run_tests(tree, selection(fault))
    finally:
        module.write_text(sound, encoding="utf-8")
    if status is None:
        return f"NOT FOUND: no end after {PATIENCE} s"
    return {0: "NOT FOUND", FAILED: "found"}.get(status, f"NOT TRIED: pytest ended with {status}")


def _tell(fault: Fault, tree: Path) -> bool:
    begun = time.monotonic()
    became = hunt(fault, tree)
    print(f"{became}: {fault.name} ({time.monotonic() - begun:.0f} s)", flush=True)
    return became == "found"


def main(words: Sequence[str]) -> int:
    """Try the faults with one of the words in their name, or all; return 0 where all are found."""
    chosen = [one for one in FAULTS if not words or any(word in one.name for word in words)]
    with workshop() as tree:
        status = run_tests(tree, all_of(chosen), 10 * PATIENCE) if chosen else 0
    if status != 0:
        print(f"NOT TRIED: without any fault the tests end with {status}")
        return 2
    share = (chosen[::2], chosen[1::2])

    def work(faults: Sequence[Fault]) -> int:
        with workshop() as tree:
            return sum(_tell(one, tree) for one in faults)

    with ThreadPoolExecutor(len(share)) as crew:
        found = sum(crew.map(work, share))
    print(f"{found} of {len(chosen)} faults found")
    return int(found != len(chosen) or not chosen)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
