//! Queries of addresses, with errors that are pages.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::api::Problem;
use crate::error::Error;

/// The query of an address as a `T`.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let Query(params) = Query::try_from_uri(&parts.uri)
            .map_err(|e| Error::bad_request("bad_query", format!("The address is not understood: {e}.")))?;
        Ok(Self(params))
    }
}

/// The same for the JSON interface, with errors that are problem documents.
pub(crate) struct ApiParams<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for ApiParams<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Params(params) = Params::from_request_parts(parts, state).await?;
        Ok(Self(params))
    }
}
