//! Users, and one's own password.

use core::net::IpAddr;

use super::{App, Failure, random};
use crate::{
    records::{
        Listed, Page,
        user::{PasswordHash, User},
    },
    rules::{
        Denied, Forbidden, Reason, Refusal,
        access::Authorized,
        limits,
        logins::Failed,
        users::{self, Change, NewUser},
    },
    token::{Secret, UserId},
};

/// What `POST /v1/users` carries.
#[derive(Debug)]
pub struct UserRequest {
    /// The e-mail.
    pub email: String,
    /// A name for people.
    pub name: Option<String>,
    /// A password to log in with.
    pub password: Option<Secret>,
    /// Groups.
    pub groups: Vec<String>,
}

/// What `PATCH /v1/users/{id}` carries; what is absent stays.
#[derive(Debug)]
pub struct UserChange {
    /// A name for people, or none from now on.
    pub name: Option<Option<String>>,
    /// Groups.
    pub groups: Option<Vec<String>>,
    /// Whether its credentials count.
    pub active: Option<bool>,
    /// A new password.
    pub password: Option<Secret>,
}

impl App {
    /// Makes a user.
    pub async fn create_user(&self, who: &Authorized, request: UserRequest) -> Result<User, Failure> {
        let mut new = NewUser {
            email: limits::email("email", &request.email)?,
            name: request.name.map(|name| limits::name("name", &name)).transpose()?,
            groups: limits::groups("groups", &request.groups)?,
            password: None,
            service: None,
        };
        self.look(|view, _| users::refuse_taken(view, &new))?;
        new.password = self.hashed(request.password).await?;
        let fresh = random()?;
        self.change(who, move |txn, _, who| {
            let id = UserId::from_parts(txn.now_ms(), txn.in_turn(fresh));
            users::create(txn, who, id, new)
        })
        .await
    }

    /// One user.
    pub fn user(&self, id: UserId) -> Result<User, Failure> {
        self.look(|view, _| User::by_id(view, id)?.ok_or(Refusal::NotFound))
    }

    /// One page of all users.
    pub fn users(&self, email: Option<&str>, page: &Page) -> Result<Listed<User>, Failure> {
        self.look(|view, _| users::list(view, email, page))
    }

    /// Changes a user.
    pub async fn update_user(
        &self,
        who: &Authorized,
        id: UserId,
        request: UserChange,
    ) -> Result<User, Failure> {
        let name = match request.name {
            Some(Some(name)) => Some(Some(limits::name("name", &name)?)),
            Some(None) => Some(None),
            None => None,
        };
        let groups = request.groups.map(|groups| limits::groups("groups", &groups)).transpose()?;
        self.look(|view, _| users::person(view, id).map(|_| ()))?;
        let password = self.hashed(request.password).await?;
        let change = Change { name, groups, active: request.active, password };
        self.change(who, move |txn, _, who| users::update(txn, who, id, change)).await
    }

    /// Changes the caller's own password, which ends all its sessions, the one that asks included. Guesses
    /// at the current one are limited like logins.
    pub async fn change_own_password(
        &self,
        who: &Authorized,
        ip: Option<IpAddr>,
        current: Secret,
        password: Secret,
    ) -> Result<(), Failure> {
        let id = who.caller().user().ok_or(Refusal::Forbidden(Forbidden::Kind))?;
        limits::password("password", password.expose())?;
        let user = self.look(|view, _| users::person(view, id))?;
        let judged = user.password.clone().ok_or(Failed::NoPassword);
        let held = match self.password_holds(ip, &user.email, current, judged).await {
            // The caller is known; it is the field that is wrong.
            Err(Failure::Refused(Refusal::Denied(_))) => {
                Err(Refusal::invalid("current_password", "is not the current password"))
            }
            Err(other) => return Err(other),
            Ok(hash) => Ok(hash),
        }?;
        let new = self.passwords.hash(password).await?;
        self.change(who, move |txn, _, who| {
            if users::person(txn, id)?.password != Some(held) {
                return Err(Denied::of(Reason::Hash).into());
            }
            users::update(txn, who, id, Change { password: Some(new), ..Change::default() })
        })
        .await?;
        Ok(())
    }

    async fn hashed(&self, password: Option<Secret>) -> Result<Option<PasswordHash>, Failure> {
        let Some(password) = password else { return Ok(None) };
        limits::password("password", password.expose())?;
        self.passwords.hash(password).await.map(Some)
    }
}
