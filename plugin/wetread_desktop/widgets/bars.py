"""What is always in sight: whose study it is; why nothing can be done; what went wrong."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout
from superqt import QFlowLayout

from wetread_desktop.client.cards import Card, CardAction
from wetread_desktop.client.panel_state import PatientBar, UnsentView
from wetread_desktop.client.presenter import Presenter
from wetread_desktop.client.words import Catalog, Sentence, say, say_n
from wetread_desktop.widgets.parts import button, label, name

_ACTIONS = {
    CardAction.RETRY: say("Try again"),
    CardAction.SETTINGS: say("Settings…"),
    CardAction.TAKE_OVER: say("Take over"),
    CardAction.GIVE_UP_UNSENT: say("Forget what was not sent"),
    CardAction.RELOAD: say("See what the edge has"),
    CardAction.READ_OUTSIDE: say("Read outside the intended use…"),
}
_SEX = {"M": say("male"), "F": say("female"), "O": say("other")}


class PatientBarView(QFrame):
    """Name, ID, birth date, accession number: nothing of it is ever cut off."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("role", "bar")
        self.who, self.facts = label("name"), label("muted")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.setSpacing(2)
        layout.addWidget(self.who)
        layout.addWidget(self.facts)

    def show_patient(self, bar: PatientBar | None, words: Catalog) -> None:
        """Draw it."""
        if bar is None:
            self.who.setText(words(say("No study is open")))
            self.facts.setVisible(False)
            return
        self.facts.setVisible(True)
        self.who.setText(bar.name or words(say("Without a name")))
        born = words(say("born {date}", date=bar.birth_date)) if bar.birth_date else ""
        age = words(say("{years} years", years=bar.age_years)) if bar.age_years is not None else ""
        sex = words(_SEX[bar.sex]) if bar.sex in _SEX else bar.sex
        number = words(say("Acc. {number}", number=bar.accession_number)) if bar.accession_number else ""
        first = " · ".join(filter(None, (words(say("ID {id}", id=bar.patient_id)), born, age, sex)))
        self.facts.setText("\n".join(filter(None, (first, " · ".join(filter(None, (number, bar.study)))))))
        self.setAccessibleName(f"{self.who.text()}, {self.facts.text()}")


class LockBar(QFrame):
    """Another study is in the viewer."""

    def __init__(self, presenter: Presenter) -> None:
        super().__init__()
        self.setProperty("role", "warning")
        self.text = label()
        self.go = button(presenter.follow_viewer)
        layout = QHBoxLayout(self)
        layout.addWidget(self.text, 1)
        layout.addWidget(self.go)

    def show_lock(self, lock: Sentence, words: Catalog) -> None:
        """Draw it, or nothing."""
        self.text.setText(words(lock))
        self.go.setText(words(say("Go to that study")))
        name(self.go, self.go.text())
        self.setVisible(bool(lock))


class UnsentBar(QFrame):
    """Decisions on earlier reads that the edge does not have."""

    def __init__(self, presenter: Presenter) -> None:
        super().__init__()
        self.setProperty("role", "warning")
        self.text, self.why = label(), label()
        self.forget = button(presenter.forget_unsent)
        layout = QVBoxLayout(self)
        layout.setSpacing(4)
        for part in (self.text, self.why):
            layout.addWidget(part)
        row = QHBoxLayout()
        row.addWidget(self.forget)
        row.addStretch(1)
        layout.addLayout(row)

    def show_unsent(self, unsent: UnsentView, words: Catalog) -> None:
        """Draw it, or nothing."""
        said = say_n(
            "{n} decision on another read is not sent yet.",
            "{n} decisions on other reads are not sent yet.",
            unsent.count,
        )
        self.text.setText(words(said) if unsent.count else "")
        self.text.setVisible(unsent.count > 0)
        self.why.setText("\n".join(words(sentence) for sentence in unsent.why))
        self.forget.setText(words(say("Forget what cannot be sent")))
        self.forget.setVisible(unsent.can_forget)
        name(self.forget, self.forget.text())
        self.setAccessibleName(f"{self.text.text()} {self.why.text()}".strip())
        self.setVisible(bool(unsent.why))


class CardView(QFrame):
    """What happened, what to do, details to copy."""

    def __init__(
        self, presenter: Presenter, *, open_settings: Callable[[], None], ask_outside: Callable[[], None]
    ) -> None:
        super().__init__()
        self._presenter, self._open_settings, self._ask_outside = presenter, open_settings, ask_outside
        self._card: Card | None = None
        self.what, self.todo = label(), label()
        font = self.what.font()
        font.setBold(True)
        self.what.setFont(font)
        self.buttons = {action: button(self._pressing(action)) for action in _ACTIONS}
        self.copy_button, self.close_button = button(self._copy), button(presenter.dismiss)
        layout = QVBoxLayout(self)
        layout.addWidget(self.what)
        layout.addWidget(self.todo)
        row = QFlowLayout()  # their names are long in some languages and the panel is narrow
        row.setSpacing(6)
        for made in (*self.buttons.values(), self.copy_button, self.close_button):
            row.addWidget(made)
        layout.addLayout(row)

    def show_card(self, card: Card | None, words: Catalog) -> None:
        """Draw it, or nothing."""
        self._card = card
        self.setVisible(card is not None)
        if card is None:
            return
        self._look(card)
        self.what.setText(words(card.what))
        self.todo.setText(words(card.todo))
        for action, made in self.buttons.items():
            made.setText(words(_ACTIONS[action]))
            made.setVisible(action in card.actions)
            name(made, made.text())
        self.copy_button.setText(words(say("Copy details")))
        self.copy_button.setVisible(bool(card.details))
        self.close_button.setText(words(say("Close")))
        name(self.copy_button, self.copy_button.text())
        name(self.close_button, self.close_button.text())
        self.setAccessibleName(f"{self.what.text()} {self.todo.text()}")

    def _pressing(self, action: CardAction) -> Callable[[], None]:
        def pressed() -> None:
            if action is CardAction.READ_OUTSIDE:
                self._ask_outside()  # the card stays: whoever goes back is where they were
                return
            self._presenter.act(action)
            if action is CardAction.SETTINGS:
                self._open_settings()

        return pressed

    def _look(self, card: Card) -> None:
        """What went wrong looks otherwise than what has to be known."""
        role = "error" if card.is_failure else "warning"
        if self.property("role") != role:
            self.setProperty("role", role)
            for part in (self, self.what, self.todo):
                part.style().unpolish(part)
                part.style().polish(part)

    def _copy(self) -> None:
        clipboard = QGuiApplication.clipboard()
        if clipboard is not None and self._card is not None:
            clipboard.setText(f"{self.what.text()}\n{self.todo.text()}\n{self._card.details}\n")
