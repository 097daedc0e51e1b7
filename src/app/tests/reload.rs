//! What runs beside a reload: of two who bring the users of services up to date, the newer configuration wins.

use std::sync::mpsc;

use super::{
    World,
    ground::{Ground, Image},
};
use crate::records::{By, user::User};

#[tokio::test]
async fn what_the_start_could_not_write_is_not_written_over_a_newer_configuration() {
    let ground = tokio::task::spawn_blocking(Ground::new).await.unwrap();
    let world = World::over(&ground, Image::Complete);
    let (app, store) = (&world.app, world.app.store());
    let (tell, told) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let writing = store.clone();
    let holding = tokio::task::spawn_blocking(move || {
        writing.write_blocking(move |_| {
            tell.send(()).unwrap();
            Ok::<_, ()>(may_go_on.recv().is_ok())
        })
    });
    tokio::task::spawn_blocking(move || told.recv()).await.unwrap().unwrap();
    let reload = tokio::spawn({
        let app = app.clone();
        async move { app.reload(By::system(), "test").await.map(drop) }
    });
    while store.stats().queue_depth == 0 {
        tokio::task::yield_now().await;
    }
    let mut settling = Box::pin(app.settle_in());
    tokio::select! {
        biased;
        settled = &mut settling => settled.unwrap(),
        () = core::future::ready(()) => {}
    }
    go_on.send(()).unwrap();
    assert_eq!(holding.await.unwrap(), Ok(Ok(true)));
    reload.await.unwrap().unwrap();
    settling.await.unwrap();
    let view = store.view();
    let active = |name| User::of_service(&*view, name).unwrap().map(|user| user.active);
    assert_eq!((active("gone"), active("new")), (Some(false), Some(true)));
}
