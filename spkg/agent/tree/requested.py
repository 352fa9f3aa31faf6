"""The values that somebody wants to set: checked, all of them, before the first one is set (A.3.2.1)."""

from collections.abc import Mapping, Sequence
from typing import Final

from spkg.agent.tree.holdings import Holdings
from spkg.agent.tree.model import DescribedParameter
from spkg.common.printable import amount
from spkg.cwmp.faults import FaultCode, MethodFaultError, ParameterFault
from spkg.cwmp.types import WrongTypeError
from spkg.cwmp.values import ParameterValue
from spkg.errors import FormatError

__all__ = ["RequestedValues"]

OF_PARAMETERS_IN_ERROR: Final = {9005, 9006, 9007, 9008}
"""The FaultCodes of a parameter in error (A.3.2.1)."""


class RequestedValues:
    """What checks values; nothing is changed.

    Args:
        holdings: The parameters.
    """

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings

    def checked(self, values: Sequence[ParameterValue]) -> dict[str, tuple[DescribedParameter, str]]:
        """Return the parameters to set, each with its value in the form of its type.

        Raises:
            MethodFaultError: Some are in error; all of these are named.
        """
        faults: dict[str, ParameterFault] = {}
        wanted: dict[str, tuple[DescribedParameter, str]] = {}
        names = [one.name for one in values]
        seen: set[str] = set()
        twice = {name for name in names if name in seen or seen.add(name)}  # type: ignore[func-returns-value]
        for one in values:
            found = self._holdings.parameter(one.name)
            if one.name in twice:
                fault = (FaultCode.INVALID_ARGUMENTS, "occurs more than once")
            elif found is None:
                fault = (FaultCode.INVALID_NAME, "there is no such parameter")
            elif not found.writable:
                fault = (FaultCode.NOT_WRITABLE, "can't be changed")
            else:
                try:
                    text = found.type.read(one.value)
                except FormatError as exc:
                    wrong = isinstance(exc, WrongTypeError)
                    fault = (FaultCode.INVALID_TYPE if wrong else FaultCode.INVALID_VALUE, exc.problem)
                else:
                    problem = self.problem(one.name, text)
                    if problem is None:
                        wanted[one.name] = (found, text)
                        continue
                    fault = (FaultCode.INVALID_VALUE, problem)
            faults[one.name] = ParameterFault(one.name, *fault)
        for source, texts in self._holdings.by_source({name: text for name, (_, text) in wanted.items()}):
            for name, refused in source.check(texts, self._holdings.deadline).items():
                code = refused.code if refused.code in OF_PARAMETERS_IN_ERROR else FaultCode.INVALID_VALUE
                faults[name] = ParameterFault(name, FaultCode(code), refused.text)
        if faults:
            ordered = tuple(faults[name] for name in dict.fromkeys(names) if name in faults)
            problem = f"{amount(len(ordered), 'parameter')} in error"
            raise MethodFaultError(FaultCode.INVALID_ARGUMENTS, problem, ordered)
        return wanted

    def problem(self, name: str, text: str) -> str | None:
        """Return what is wrong with a new value of one of the agent's own parameters."""
        row = self._holdings.own.rows.get(name.removeprefix(self._holdings.root))
        return None if row is None or self._holdings.source_of(name) is not None else row.check(text)

    def split(
        self, wanted: Mapping[str, tuple[DescribedParameter, str]]
    ) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
        """Return what differs from now: of the agent (without the root), of providers, and what that was."""
        own: dict[str, str] = {}
        others: dict[str, DescribedParameter] = {}
        for name, (found, text) in wanted.items():
            plain = name.removeprefix(self._holdings.root)
            if self._holdings.source_of(name) is not None:
                others[name] = found
            elif self._holdings.own.setting(plain) != text:
                own[plain] = text
        now = self._holdings.read({name: one for name, one in others.items() if not one.secret}).values
        fresh = {name: wanted[name][1] for name in others if now.get(name) != wanted[name][1]}
        return own, fresh, {name: now[name] for name in fresh if name in now}
