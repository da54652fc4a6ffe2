//! `geometry` and `geography`: the bytes in which SQL Server serialises them (MS-SSCLRT 2.1), and well-known binary.

/// Properties of a serialised shape.
const HAS_Z: u8 = 0x01;
const HAS_M: u8 = 0x02;
const IS_POINT: u8 = 0x08;
const IS_LINE: u8 = 0x10;

/// Kinds of shapes, with the same numbers in both forms; curves and the full globe are not known here.
const POINT: u8 = 1;
const LINE: u8 = 2;
const POLYGON: u8 = 3;
const COLLECTIONS: std::ops::RangeInclusive<u8> = 4..=7;

/// Collections within each other at most.
const DEPTH: usize = 32;

/// A point's coordinates, east or right first.
#[derive(Debug, Clone, Copy)]
struct Point {
    x: f64,
    y: f64,
    z: f64,
    m: f64,
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    parent: i32,
    figure: i32,
    kind: u8,
}

/// A shape taken apart.
#[derive(Debug, Default)]
struct Parts {
    points: Vec<Point>,
    /// Where in the points each figure begins.
    figures: Vec<i32>,
    shapes: Vec<Shape>,
    z: bool,
    m: bool,
}

/// The number of a serialised shape's reference system; `None` if the bytes are no shape.
pub(crate) fn srid(bytes: &[u8]) -> Option<i32> {
    let (srid, rest) = bytes.split_first_chunk::<4>()?;
    matches!(rest.first()?, 1 | 2).then(|| i32::from_le_bytes(*srid))
}

/// A serialised shape as well-known binary with Z and M; `None` for one of a kind that is not known here.
/// Serialised, the points of a `geography` have their latitude first.
pub(crate) fn well_known(bytes: &[u8], geography: bool) -> Option<Vec<u8>> {
    srid(bytes)?;
    let mut reader = Reader(bytes.get(5..)?);
    let parts = parts(&mut reader, geography)?;
    let root = parts.shapes.first()?;
    if root.parent != -1 {
        return None;
    }
    let mut written = Vec::new();
    parts.write(0, &mut written, DEPTH)?;
    Some(written)
}

fn parts(reader: &mut Reader<'_>, geography: bool) -> Option<Parts> {
    let properties = reader.byte()?;
    let one = properties & (IS_POINT | IS_LINE) != 0;
    let count = match properties & (IS_POINT | IS_LINE) {
        0 => reader.count(16)?,
        IS_POINT => 1,
        IS_LINE => 2,
        _ => return None,
    };
    let mut parts = Parts {
        z: properties & HAS_Z != 0,
        m: properties & HAS_M != 0,
        ..Parts::default()
    };
    for _ in 0..count {
        let (first, second) = (reader.double()?, reader.double()?);
        let (x, y) = if geography {
            (second, first)
        } else {
            (first, second)
        };
        let nothing = f64::NAN;
        parts.points.push(Point {
            x,
            y,
            z: nothing,
            m: nothing,
        });
    }
    for point in parts.points.iter_mut().filter(|_| parts.z) {
        point.z = reader.double()?;
    }
    for point in parts.points.iter_mut().filter(|_| parts.m) {
        point.m = reader.double()?;
    }
    if one {
        parts.figures.push(0);
        let kind = if properties & IS_POINT != 0 {
            POINT
        } else {
            LINE
        };
        parts.shapes.push(Shape {
            parent: -1,
            figure: 0,
            kind,
        });
        return Some(parts);
    }
    for _ in 0..reader.count(5)? {
        reader.byte()?;
        parts.figures.push(reader.int()?);
    }
    for _ in 0..reader.count(9)? {
        parts.shapes.push(Shape {
            parent: reader.int()?,
            figure: reader.int()?,
            kind: reader.byte()?,
        });
    }
    Some(parts)
}

impl Parts {
    fn write(&self, at: usize, written: &mut Vec<u8>, depth: usize) -> Option<()> {
        let shape = self.shapes.get(at)?;
        let dimensions = 1000 * u32::from(self.z) + 2000 * u32::from(self.m);
        written.push(1);
        written.extend_from_slice(&(u32::from(shape.kind) + dimensions).to_le_bytes());
        match shape.kind {
            POINT => {
                let [points] = self.figures_of(at)?.try_into().ok()?;
                let [point] = points else { return None };
                self.write_point(point, written);
            }
            LINE => {
                let lines = self.figures_of(at)?;
                self.write_points(lines.first().copied().unwrap_or(&[]), written)?;
            }
            POLYGON => {
                let rings = self.figures_of(at)?;
                written.extend_from_slice(&u32::try_from(rings.len()).ok()?.to_le_bytes());
                for ring in rings {
                    self.write_points(ring, written)?;
                }
            }
            kind if COLLECTIONS.contains(&kind) => self.write_children(at, written, depth)?,
            _ => return None,
        }
        Some(())
    }

    fn write_children(&self, at: usize, written: &mut Vec<u8>, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        let parent = i32::try_from(at).ok()?;
        // A child stands behind its parent, so that this ends.
        let children = (at + 1..self.shapes.len()).filter(|at| self.shapes[*at].parent == parent);
        let children = children.collect::<Vec<_>>();
        written.extend_from_slice(&u32::try_from(children.len()).ok()?.to_le_bytes());
        for child in children {
            self.write(child, written, depth)?;
        }
        Some(())
    }

    /// The points of each figure of a shape; none of an empty one.
    fn figures_of(&self, at: usize) -> Option<Vec<&[Point]>> {
        let shape = self.shapes.get(at)?;
        if shape.figure == -1 {
            return Some(Vec::new());
        }
        let first = usize::try_from(shape.figure).ok()?;
        let later = self.shapes[at + 1..].iter().map(|shape| shape.figure);
        let end = match later.into_iter().find(|figure| *figure != -1) {
            Some(next) => usize::try_from(next).ok()?,
            None => self.figures.len(),
        };
        let figures = self.figures.get(first..end)?;
        let ends = self.figures.get(first + 1..)?.iter().copied();
        let last = i32::try_from(self.points.len()).ok()?;
        figures
            .iter()
            .zip(ends.chain([last]))
            .map(|(start, end)| {
                let start = usize::try_from(*start).ok()?;
                self.points.get(start..usize::try_from(end).ok()?)
            })
            .collect()
    }

    fn write_points(&self, points: &[Point], written: &mut Vec<u8>) -> Option<()> {
        written.extend_from_slice(&u32::try_from(points.len()).ok()?.to_le_bytes());
        for point in points {
            self.write_point(point, written);
        }
        Some(())
    }

    fn write_point(&self, point: &Point, written: &mut Vec<u8>) {
        let z = self.z.then_some(point.z);
        let m = self.m.then_some(point.m);
        for coordinate in [Some(point.x), Some(point.y), z, m].into_iter().flatten() {
            written.extend_from_slice(&coordinate.to_le_bytes());
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn int(&mut self) -> Option<i32> {
        self.take().map(i32::from_le_bytes)
    }

    fn double(&mut self) -> Option<f64> {
        self.take().map(f64::from_le_bytes)
    }

    /// A number of things of so many bytes, which are there.
    fn count(&mut self, width: usize) -> Option<usize> {
        let count = usize::try_from(self.int()?).ok()?;
        (count.checked_mul(width)? <= self.0.len()).then_some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serialised(properties: u8, doubles: &[f64]) -> Vec<u8> {
        let mut bytes = 4326_i32.to_le_bytes().to_vec();
        bytes.extend_from_slice(&[1, properties]);
        bytes.extend(doubles.iter().flat_map(|double| double.to_le_bytes()));
        bytes
    }

    fn doubles(bytes: &[u8]) -> Vec<f64> {
        let chunks = bytes.chunks_exact(8);
        chunks
            .map(|chunk| f64::from_le_bytes(chunk.try_into().unwrap()))
            .collect()
    }

    #[test]
    fn a_point_of_the_earth_has_its_longitude_first() {
        let bytes = serialised(0x0c, &[52.5, 13.25]);
        assert_eq!(srid(&bytes), Some(4326));
        let shape = well_known(&bytes, true).unwrap();
        assert_eq!(shape[..5], [1, 1, 0, 0, 0]);
        assert_eq!(doubles(&shape[5..]), [13.25, 52.5]);
        let flat = well_known(&bytes, false).unwrap();
        assert_eq!(doubles(&flat[5..]), [52.5, 13.25]);
    }

    #[test]
    fn height_and_measure_are_kept() {
        let shape = well_known(&serialised(0x0f, &[1.0, 2.0, 3.0, 4.0]), false).unwrap();
        assert_eq!(shape[..5], [1, 0xb9, 0x0b, 0, 0], "3001");
        assert_eq!(doubles(&shape[5..]), [1.0, 2.0, 3.0, 4.0]);
        let line = well_known(&serialised(0x14, &[1.0, 2.0, 3.0, 4.0]), false).unwrap();
        assert_eq!(line[..9], [1, 2, 0, 0, 0, 2, 0, 0, 0]);
    }

    #[test]
    fn a_collection_holds_its_shapes() {
        let mut bytes = 0_i32.to_le_bytes().to_vec();
        bytes.extend_from_slice(&[1, 0x04, 3, 0, 0, 0]);
        for double in [0.0_f64, 0.0, 1.0, 0.0, 5.0, 6.0] {
            bytes.extend_from_slice(&double.to_le_bytes());
        }
        bytes.extend_from_slice(&[2, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 0, 0, 0]);
        bytes.extend_from_slice(&[3, 0, 0, 0]);
        for (parent, figure, kind) in [(-1_i32, 0_i32, 7_u8), (0, 0, 2), (0, 1, 1)] {
            bytes.extend_from_slice(&parent.to_le_bytes());
            bytes.extend_from_slice(&figure.to_le_bytes());
            bytes.push(kind);
        }
        let shape = well_known(&bytes, false).unwrap();
        assert_eq!(shape[..9], [1, 7, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(shape[9..18], [1, 2, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(doubles(&shape[18..50]), [0.0, 0.0, 1.0, 0.0]);
        assert_eq!(shape[50..55], [1, 1, 0, 0, 0]);
        assert_eq!(doubles(&shape[55..]), [5.0, 6.0]);
    }

    #[test]
    fn other_bytes_are_no_shape() {
        assert_eq!(srid(&[0, 0, 0, 0]), None);
        assert_eq!(srid(&[0, 0, 0, 0, 9]), None);
        for bytes in [
            serialised(0x0c, &[1.0]),
            serialised(0x18, &[1.0, 2.0]),
            serialised(0x04, &[]),
            [serialised(0x04, &[]), vec![0xff; 40]].concat(),
            [serialised(0x04, &[]), vec![0; 12]].concat(),
        ] {
            assert_eq!(well_known(&bytes, true), None, "{bytes:?}");
        }
    }
}
