"""API tokens in the admin: made, looked at, and taken back. No page has a secret but the first."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from gateway_app import tokens
from gateway_app.admin.outcomes import do_each
from gateway_app.admin.read_only import ReadOnly
from gateway_app.models import ApiToken
from messaging.envelope import utc_now


class NewToken(forms.ModelForm):  # type: ignore[type-arg] # not a generic class at run time
    """What is asked of who makes a token."""

    scopes_text = forms.CharField(
        label="Scopes",
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=(
            "Routes it opens, one a line: the path of a route, such as /api/users/{id}, or all "
            "below a path, such as /api/users/*."
        ),
    )

    class Meta:
        """Name and end are columns."""

        model = ApiToken
        fields = ("name", "expires_at")
        help_texts: ClassVar = {
            "expires_at": "UTC, such as 2027-01-31 08:00. Empty: never, until it is revoked."
        }

    def clean_scopes_text(self) -> list[str]:
        """Return the scopes."""
        try:
            return tokens.checked_scopes(self.cleaned_data["scopes_text"].split())
        except ValueError as exc:
            raise forms.ValidationError(str(exc)) from exc

    def clean_expires_at(self) -> Any:
        """Return when it ends, which must be to come."""
        expires_at = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= utc_now():
            raise forms.ValidationError("the token would have expired already")
        return expires_at


class StateFilter(admin.SimpleListFilter):
    """Live, expired or revoked."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the states."""
        return [(state, state) for state in ("live", "expired", "revoked")]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[ApiToken]
    ) -> QuerySet[ApiToken] | None:
        """Return the tokens in the state that is asked for."""
        is_over = Q(expires_at__isnull=False, expires_at__lte=utc_now())
        if self.value() == "revoked":
            return queryset.filter(revoked_at__isnull=False)
        if self.value() == "expired":
            return queryset.filter(is_over, revoked_at=None)
        if self.value() == "live":
            return queryset.filter(~is_over, revoked_at=None)
        return queryset


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnly):
    """API tokens. One is made with the permission to add, and revoked with that to change."""

    actions = ("revoke",)
    list_display = (
        "name",
        "public_id",
        "state",
        "scopes_json",
        "expires_at",
        "last_used_at",
        "created_by",
    )
    list_filter = (StateFilter,)
    search_fields = (
        "name",
        "public_id",
        "scopes_json",
    )
    #: All but its hash, which helps nobody who may see it.
    fields = (
        *("name", "public_id", "state", "scopes_json", "created_by"),
        *("created_at", "expires_at", "last_used_at", "revoked_at"),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return whether this user may make tokens."""
        return request.user.has_perm("gateway_app.add_apitoken")

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Return whether this user may take tokens back."""
        return request.user.has_perm("gateway_app.change_apitoken")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return what a token has, or what is asked for a new one."""
        return self.fields if obj is not None else ("name", "scopes_text", "expires_at")

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **_: Any
    ) -> Any:
        """Return the form for a new token; those that there are have none."""
        return super().get_form(request, obj, change) if change else NewToken

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields in one set."""
        return [(None, {"fields": self.get_fields(request, obj)})]

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        """Make the token that the form describes."""
        made, text = tokens.create(
            obj.name,
            form.cleaned_data["scopes_text"],
            expires_at=obj.expires_at,
            actor=request.user.get_username(),
            now=utc_now(),
        )
        # The form's row becomes the one that was made: for the admin's own log.
        obj.__dict__.update(made.__dict__)
        obj.shown_once = text  # type: ignore[attr-defined] # for `response_add`, on no column

    def response_add(
        self, request: HttpRequest, obj: ApiToken, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the token's text on this page, and nowhere again: no redirect would carry it."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"API token {obj}",
            "token": obj,
            "text": obj.shown_once,  # type: ignore[attr-defined] # set by `save_model`
        }
        return TemplateResponse(request, "gateway_app/token_made.html", context)

    @admin.display(description="state")
    def state(self, token: ApiToken) -> str:
        """Return live, expired or revoked."""
        return token.state_at(utc_now())

    @admin.action(description="Revoke: it opens nothing any more", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        """Take back what is selected, for ever."""

        def revoke(token: ApiToken) -> bool:
            return tokens.revoke(token, actor=request.user.get_username(), now=utc_now())

        do_each(self, request, queryset, revoke, "revoked")
