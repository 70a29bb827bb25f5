//! The pickle of `torch.save`, as data: bytes come in, tensors by name go out. Nothing of it is
//! run: it is read as numbers, texts, containers, and calls that are kept as they are written.
//! Called by `pytorch`.
//!
//! candle has such a reader too; this one takes memory in proportion to the bytes whatever they
//! say, knows all integers, and tensors that are in no dictionary.

use std::collections::HashMap;

/// The index of an object.
type Id = usize;
type Parsed<T> = std::result::Result<T, String>;

/// How deep containers are looked into for tensors.
const DEPTH: usize = 16;
/// Tensors, letters of a name and axes at most: a pickle may repeat itself at two bytes a time.
const MOST_TENSORS: usize = 1 << 16;
const LONGEST_NAME: usize = 1000;
const MOST_AXES: usize = 64;

#[derive(Debug, PartialEq)]
enum Object {
    Text(String),
    Whole(i64),
    /// A function or class: module and name, with a space.
    Global(String),
    /// A tuple or list.
    Items(Vec<Id>),
    Map(Vec<(Id, Id)>),
    Call {
        function: Id,
        arguments: Id,
    },
    /// What is stored elsewhere.
    Stored(Id),
    /// What no tensor needs: None, booleans, fractions.
    Other,
}

/// A tensor whose numbers are in an entry of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredTensor {
    /// PyTorch's name of the element type, such as `FloatStorage`.
    pub(super) storage_type: String,
    /// The name of the entry.
    pub(super) key: String,
    /// Numbers before the first.
    pub(super) offset: u64,
    pub(super) shape: Vec<u64>,
    /// Numbers from an index of an axis to the next.
    pub(super) strides: Vec<u64>,
}

/// All objects of a pickle.
#[derive(Debug, Default)]
pub(super) struct Pickle {
    objects: Vec<Object>,
    top: Id,
}

/// A pickle that is being read: a machine with a stack, marks in it, and a memo.
struct Machine<'a> {
    rest: &'a [u8],
    objects: Vec<Object>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl Pickle {
    /// Reads a pickle of protocol 2, which `torch.save` writes.
    pub(super) fn parse(bytes: &[u8]) -> Parsed<Self> {
        let mut machine = Machine {
            rest: bytes,
            objects: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        loop {
            let [code] = machine.array()?;
            if code == b'.' {
                let top = machine.pop()?;
                return Ok(Self { objects: machine.objects, top });
            }
            machine.step(code)?;
        }
    }

    /// The tensors and their names: keys and positions of what they are in, with dots between.
    pub(super) fn tensors(&self) -> Vec<(String, StoredTensor)> {
        let mut found = Vec::new();
        let mut seen = vec![false; self.objects.len()];
        self.collect(self.top, String::new(), DEPTH, &mut seen, &mut found);
        found
    }

    /// Those in an object. Containers are looked into once: a pickle may contain itself.
    fn collect(
        &self,
        id: Id,
        name: String,
        depth: usize,
        seen: &mut [bool],
        found: &mut Vec<(String, StoredTensor)>,
    ) {
        if found.len() == MOST_TENSORS || name.len() > LONGEST_NAME {
            return;
        }
        if let Some(tensor) = self.tensor(id) {
            found.push((name, tensor));
            return;
        }
        if depth == 0 || std::mem::replace(&mut seen[id], true) {
            return;
        }
        let below = |key: &str| if name.is_empty() { key.into() } else { format!("{name}.{key}") };
        match &self.objects[id] {
            Object::Items(items) => {
                for (at, item) in items.iter().enumerate() {
                    self.collect(*item, below(&at.to_string()), depth - 1, seen, found);
                }
            }
            Object::Map(entries) => {
                for (key, value) in entries {
                    if let Some(key) = self.key(*key) {
                        self.collect(*value, below(&key), depth - 1, seen, found);
                    }
                }
            }
            _ => {}
        }
    }

    fn key(&self, id: Id) -> Option<String> {
        match &self.objects[id] {
            Object::Text(text) if text.len() <= LONGEST_NAME => Some(text.clone()),
            Object::Whole(number) => Some(number.to_string()),
            _ => None,
        }
    }

    fn tensor(&self, mut id: Id) -> Option<StoredTensor> {
        // A parameter wraps a tensor.
        for _ in 0..DEPTH {
            let Object::Call { function, arguments } = &self.objects[id] else { return None };
            let Object::Global(function) = &self.objects[*function] else { return None };
            let arguments = self.items(*arguments)?;
            match function.as_str() {
                "torch._utils _rebuild_parameter" => id = *arguments.first()?,
                "torch._utils _rebuild_tensor_v2" => return self.stored(arguments),
                _ => return None,
            }
        }
        None
    }

    /// A tensor of its arguments: storage, offset, shape, strides, and others.
    fn stored(&self, arguments: &[Id]) -> Option<StoredTensor> {
        let [storage, offset, shape, strides, ..] = arguments else { return None };
        let Object::Stored(storage) = self.objects[*storage] else { return None };
        let [_, class, key, ..] = self.items(storage)? else { return None };
        let Object::Global(class) = &self.objects[*class] else { return None };
        let wholes = |id: Id| -> Option<Vec<u64>> {
            let items = self.items(id).filter(|items| items.len() <= MOST_AXES)?;
            items.iter().map(|id| self.whole(*id)).collect()
        };
        let storage_type =
            class.strip_prefix("torch ").filter(|name| name.len() <= LONGEST_NAME)?;
        Some(StoredTensor {
            storage_type: storage_type.to_owned(),
            key: self.key(*key)?,
            offset: self.whole(*offset)?,
            shape: wholes(*shape)?,
            strides: wholes(*strides)?,
        })
    }

    fn items(&self, id: Id) -> Option<&[Id]> {
        match &self.objects[id] {
            Object::Items(items) => Some(items),
            _ => None,
        }
    }

    fn whole(&self, id: Id) -> Option<u64> {
        match &self.objects[id] {
            Object::Whole(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }
}

impl Machine<'_> {
    /// One instruction.
    fn step(&mut self, code: u8) -> Parsed<()> {
        match code {
            0x80 => self.array::<1>().map(|_| ()),
            b'c' => {
                let name = format!("{} {}", self.line()?, self.line()?);
                self.push(Object::Global(name))
            }
            b'X' => {
                let length = u32::from_le_bytes(self.array()?);
                let text = self.take(length as usize)?;
                let text = String::from_utf8_lossy(text).into_owned();
                self.push(Object::Text(text))
            }
            b'J' | b'K' | b'M' | 0x8a => {
                let number = self.number(code)?;
                self.push(Object::Whole(number))
            }
            b'G' => self.array::<8>().and_then(|_| self.push(Object::Other)),
            b'N' | 0x88 | 0x89 => self.push(Object::Other),
            b'q' | b'r' | b'h' | b'j' => self.remember(code),
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b')' | b']' => self.push(Object::Items(Vec::new())),
            b'}' => self.push(Object::Map(Vec::new())),
            b't' | 0x85..=0x87 => {
                let items = if code == b't' { self.marked()? } else { self.last(code - 0x84)? };
                self.push(Object::Items(items))
            }
            b'Q' | b'R' | b'b' => self.call(code),
            b's' | b'u' | b'a' | b'e' => self.add(code),
            _ => Err(format!("has the instruction {code:#04x}, which torch.save does not write")),
        }
    }

    fn number(&mut self, code: u8) -> Parsed<i64> {
        Ok(match code {
            b'J' => i32::from_le_bytes(self.array()?).into(),
            b'K' => self.array::<1>()?[0].into(),
            b'M' => u16::from_le_bytes(self.array()?).into(),
            _ => {
                let [length] = self.array()?;
                let bytes = self.take(length.into())?;
                let mut wide =
                    [bytes.last().map_or(0, |byte| if byte & 128 == 0 { 0 } else { 255 }); 8];
                let Some(low) = wide.get_mut(..bytes.len()) else {
                    return Err(format!("has a number of {length} bytes"));
                };
                low.copy_from_slice(bytes);
                i64::from_le_bytes(wide)
            }
        })
    }

    /// Stores the last object in the memo, or takes one out of it.
    fn remember(&mut self, code: u8) -> Parsed<()> {
        let at = match code {
            b'q' | b'h' => self.array::<1>()?[0].into(),
            _ => u32::from_le_bytes(self.array()?),
        };
        if matches!(code, b'q' | b'r') {
            let last = self.stack.last().ok_or_else(empty)?;
            self.memo.insert(at, *last);
        } else {
            let id = self.memo.get(&at).ok_or_else(|| format!("asks for object {at}"))?;
            self.stack.push(*id);
        }
        Ok(())
    }

    /// A call, what is stored elsewhere, or the state of an object, which is left out.
    fn call(&mut self, code: u8) -> Parsed<()> {
        let arguments = self.pop()?;
        match code {
            b'Q' => self.push(Object::Stored(arguments)),
            b'R' => {
                let function = self.pop()?;
                let is_map = matches!(&self.objects[function],
                    Object::Global(name) if name == "collections OrderedDict");
                let call = Object::Call { function, arguments };
                self.push(if is_map { Object::Map(Vec::new()) } else { call })
            }
            _ => Ok(()),
        }
    }

    /// Adds the last objects to the container before them.
    fn add(&mut self, code: u8) -> Parsed<()> {
        let new = match code {
            b's' => self.last(2)?,
            b'a' => self.last(1)?,
            _ => self.marked()?,
        };
        let container = *self.stack.last().ok_or_else(empty)?;
        match (&mut self.objects[container], code) {
            (Object::Map(entries), b's' | b'u') => {
                entries.extend(new.as_chunks::<2>().0.iter().map(|[key, value]| (*key, *value)));
            }
            (Object::Items(items), b'a' | b'e') => items.extend(new),
            // Of objects that are kept as calls.
            _ => {}
        }
        Ok(())
    }

    fn push(&mut self, object: Object) -> Parsed<()> {
        self.stack.push(self.objects.len());
        self.objects.push(object);
        Ok(())
    }

    fn pop(&mut self) -> Parsed<Id> {
        self.stack.pop().ok_or_else(empty)
    }

    /// The objects behind the last mark, which is taken away.
    fn marked(&mut self) -> Parsed<Vec<Id>> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len()).ok_or_else(empty)?;
        Ok(self.stack.split_off(mark))
    }

    fn last(&mut self, count: u8) -> Parsed<Vec<Id>> {
        let mark = self.stack.len().checked_sub(count.into()).ok_or_else(empty)?;
        Ok(self.stack.split_off(mark))
    }

    fn take(&mut self, count: usize) -> Parsed<&[u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(ended)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Parsed<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(ended)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn line(&mut self) -> Parsed<String> {
        let end = self.rest.iter().position(|byte| *byte == b'\n').ok_or_else(ended)?;
        let line = String::from_utf8_lossy(&self.rest[..end]).into_owned();
        self.rest = &self.rest[end + 1..];
        Ok(line)
    }
}

fn empty() -> String {
    "takes more objects than it has".to_owned()
}

fn ended() -> String {
    "ends within its pickle".to_owned()
}
