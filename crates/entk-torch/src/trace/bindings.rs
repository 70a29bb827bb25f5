//! The names of a program and what they stand for, with the storage that tensors share: a write
//! through one name is seen under the others. Kept by the run.

use std::collections::HashMap;

use crate::trace::{Refusal, Ruled, Traced};

/// What a name stands for.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    Tensor(Traced),
    Number(f64),
}

/// How a tensor was made of another whose storage it shares.
#[derive(Debug, Clone)]
pub(crate) struct ViewOf {
    /// Name of the other.
    pub(crate) base: String,
    /// The node that made it, and which of its results; none if it is the other itself.
    pub(crate) made_by: Option<(usize, usize)>,
    /// Whether PyTorch always shares storage here; `reshape` and others may copy.
    pub(crate) certain: bool,
}

#[derive(Debug)]
struct Binding {
    item: Item,
    view: Option<ViewOf>,
    /// Of the storage when the item was found.
    version: usize,
    /// A write through what may be a copy: the numbers are one of two.
    unknown: bool,
}

/// Names and what they stand for.
#[derive(Debug, Default)]
pub(crate) struct Bindings {
    map: HashMap<String, Binding>,
}

/// What a name stands for, or what to compute first.
pub(crate) enum Found {
    Item(Item),
    /// Views from the storage on, whose numbers are older than it.
    Stale(Vec<(String, ViewOf)>),
}

impl Bindings {
    /// Gives a name its first meaning.
    pub(crate) fn bind(&mut self, name: &str, item: Item, view: Option<ViewOf>) {
        let version = view.as_ref().map_or(0, |view| self.version(&view.base));
        let binding = Binding { item, view, version, unknown: false };
        self.map.insert(name.to_owned(), binding);
    }

    fn get(&self, name: &str) -> Ruled<&Binding> {
        self.map.get(name).ok_or_else(|| {
            Refusal::new(format!("{name} is read before it is computed; the archive is damaged"))
        })
    }

    /// The tensor that owns the storage of a name, and the views on the way from it.
    pub(crate) fn chain(&self, name: &str) -> (String, Vec<(String, ViewOf)>) {
        let (mut at, mut views) = (name.to_owned(), Vec::new());
        while let Some(view) = self.map.get(&at).and_then(|binding| binding.view.clone()) {
            let base = view.base.clone();
            views.push((std::mem::replace(&mut at, base), view));
        }
        views.reverse();
        (at, views)
    }

    fn version(&self, name: &str) -> usize {
        let (root, _) = self.chain(name);
        self.map.get(&root).map_or(0, |binding| binding.version)
    }

    /// What a name stands for now.
    pub(crate) fn find(&self, name: &str) -> Ruled<Found> {
        let binding = self.get(name)?;
        let (root, views) = self.chain(name);
        let owner = self.get(&root)?;
        if owner.unknown || (owner.version != binding.version && views.iter().any(is_uncertain)) {
            return Err(Refusal::new(format!(
                "{name} may or may not share memory with a tensor that was written to in place; \
                 write `x = x + y` for `x += y` there"
            )));
        }
        if owner.version == binding.version {
            return Ok(Found::Item(binding.item.clone()));
        }
        Ok(Found::Stale(views))
    }

    /// Takes in what a view was found to be.
    pub(crate) fn refresh(&mut self, name: &str, tensor: Traced) {
        let version = self.version(name);
        if let Some(binding) = self.map.get_mut(name) {
            (binding.item, binding.version) = (Item::Tensor(tensor), version);
        }
    }

    /// Gives the storage of `root` new numbers; `name` is the view that was written to.
    pub(crate) fn write(&mut self, root: &str, whole: Traced, name: &str, part: Traced) {
        if let Some(owner) = self.map.get_mut(root) {
            owner.item = Item::Tensor(whole);
            owner.version += 1;
        }
        if root != name {
            self.refresh(name, part);
        }
    }

    /// A write through what may be a copy: `name` has these numbers, its storage is not known.
    pub(crate) fn write_apart(&mut self, root: &str, name: &str, part: Traced) {
        if let Some(owner) = self.map.get_mut(root) {
            owner.unknown = true;
            owner.version += 1;
        }
        if let Some(binding) = self.map.get_mut(name) {
            (binding.item, binding.view) = (Item::Tensor(part), None);
            binding.version += 1;
        }
    }
}

/// Whether a view may be a copy.
pub(crate) fn is_uncertain((_, view): &(String, ViewOf)) -> bool {
    !view.certain
}
