//! Points and rectangles of the page, in points of 1/72 inch: lines come in, their parts inside a
//! rectangle or between the gaps of a dash pattern go out. Called by panels, legends and the
//! canvas.

/// A position in points, y downwards.
pub(crate) type Point = (f64, f64);

/// An upright rectangle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rect {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

impl Rect {
    pub(crate) fn new(left: f64, top: f64, width: f64, height: f64) -> Self {
        Self { left, top, width, height }
    }

    pub(crate) fn right(&self) -> f64 {
        self.left + self.width
    }

    pub(crate) fn bottom(&self) -> f64 {
        self.top + self.height
    }

    pub(crate) fn grown(&self, by: f64) -> Self {
        Self::new(self.left - by, self.top - by, self.width + 2.0 * by, self.height + 2.0 * by)
    }

    pub(crate) fn contains(&self, (x, y): Point) -> bool {
        (self.left..=self.right()).contains(&x) && (self.top..=self.bottom()).contains(&y)
    }

    pub(crate) fn corners(&self) -> Vec<Point> {
        let (left, top, right, bottom) = (self.left, self.top, self.right(), self.bottom());
        vec![(left, top), (right, top), (right, bottom), (left, bottom)]
    }

    /// The part of the segment that lies inside, by Liang and Barsky's method.
    pub(crate) fn clip(&self, from: Point, to: Point) -> Option<(Point, Point)> {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let (mut enter, mut leave) = (0.0_f64, 1.0_f64);
        let sides = [
            (-dx, from.0 - self.left),
            (dx, self.right() - from.0),
            (-dy, from.1 - self.top),
            (dy, self.bottom() - from.1),
        ];
        for (speed, distance) in sides {
            if speed == 0.0 && distance < 0.0 {
                return None;
            } else if speed < 0.0 {
                enter = enter.max(distance / speed);
            } else if speed > 0.0 {
                leave = leave.min(distance / speed);
            }
        }
        let at = |t: f64| (from.0 + t * dx, from.1 + t * dy);
        (enter <= leave).then(|| (at(enter), at(leave)))
    }
}

/// The parts of a line that lie inside `area`.
pub(crate) fn clip_path(path: &[Point], area: &Rect) -> Vec<Vec<Point>> {
    let mut parts: Vec<Vec<Point>> = Vec::new();
    for pair in path.windows(2) {
        let Some((from, to)) = area.clip(pair[0], pair[1]) else { continue };
        match parts.last_mut() {
            Some(part) if part.last() == Some(&from) => part.push(to),
            _ => parts.push(vec![from, to]),
        }
    }
    parts
}

/// Cuts a line into dashes of length `on` with gaps of length `off`.
pub(crate) fn dashes(path: &[Point], on: f64, off: f64) -> Vec<Vec<Point>> {
    let mut parts = Vec::new();
    let mut part: Vec<Point> = path.first().copied().into_iter().collect();
    let (mut drawing, mut left) = (true, on);
    for pair in path.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let mut done = 0.0;
        while length - done > left {
            done += left;
            let t = done / length;
            let at = (from.0 + t * (to.0 - from.0), from.1 + t * (to.1 - from.1));
            if drawing {
                part.push(at);
                parts.push(std::mem::take(&mut part));
            } else {
                part = vec![at];
            }
            drawing = !drawing;
            left = if drawing { on } else { off };
        }
        left -= length - done;
        if drawing {
            part.push(to);
        }
    }
    if part.len() > 1 {
        parts.push(part);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: Rect = Rect { left: 0.0, top: 0.0, width: 1.0, height: 1.0 };

    #[test]
    fn segments_are_clipped_to_the_area() {
        assert_eq!(UNIT.clip((-1.0, 0.5), (2.0, 0.5)), Some(((0.0, 0.5), (1.0, 0.5))));
        assert_eq!(UNIT.clip((0.2, 0.2), (0.4, 0.8)), Some(((0.2, 0.2), (0.4, 0.8))));
        assert_eq!(UNIT.clip((-1.0, 2.0), (2.0, 2.0)), None);
        assert_eq!(UNIT.clip((-0.9, 0.5), (0.5, 1.9)), None);
    }

    #[test]
    fn a_line_that_leaves_and_returns_is_two_parts() {
        let path = [(0.5, 0.5), (0.5, 2.0), (0.7, 2.0), (0.7, 0.5), (0.8, 0.5)];
        let parts = clip_path(&path, &UNIT);
        assert_eq!(parts, [vec![(0.5, 0.5), (0.5, 1.0)], vec![(0.7, 1.0), (0.7, 0.5), (0.8, 0.5)]]);
    }

    #[test]
    fn dashes_keep_their_length_around_corners() {
        let length = |part: &Vec<Point>| -> f64 {
            part.windows(2).map(|p| (p[1].0 - p[0].0).hypot(p[1].1 - p[0].1)).sum()
        };
        let parts = dashes(&[(0.0, 0.0), (2.5, 0.0), (2.5, 7.0)], 2.0, 1.0);
        assert_eq!(parts.len(), 4);
        for part in &parts[..3] {
            assert!((length(part) - 2.0).abs() < 1e-12, "{part:?}");
        }
        assert!((length(&parts[3]) - 0.5).abs() < 1e-12);
    }
}
